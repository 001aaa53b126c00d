"""What a stride is: each tensor as a grid of numbers, and the storage behind it in the order of memory."""

from __future__ import annotations

import torch
from matplotlib.patches import FancyArrowPatch, Rectangle

from autograder.errors import RecordError

from . import palette
from .figure import MemoryFigure

_MOST = 24  # elements of a storage that can be drawn
_GAP = 1.4  # cells between the grid and the storage
_LINE = 1.0  # cells for the words above a row
_ARROW = 0.85  # cells for the arrow above a storage, and for the one below it
_SPACE = 0.5  # cells below a row
_INCHES = 7.6  # of all cells side by side
_TITLE = 0.4  # inches
_LABEL = 3.4  # cells that the words beside an arrow may take
_ARROWS = (
    {"color": palette.VERMILLION, "linestyle": "-", "side": 1, "words": "next row"},
    {"color": palette.GREEN, "linestyle": (0, (3, 1.5)), "side": -1, "words": "next column"},
)
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
_UNUSED = {"facecolor": palette.FREE["facecolor"], "edgecolor": palette.FREE["edgecolor"], "linewidth": 0.8}


def storage_map(tensors: dict[str, torch.Tensor]) -> MemoryFigure:
    """Draw small tensors of one or two dimensions, one below the other, each named by its key.

    Left the tensor as it looks, right its storage as it lies in memory: the elements it shows are filled, the others it
    merely keeps alive. Arrows show the strides: the way to the next row above the storage (solid), to the next column
    below it (dashed). A storage that is not the first tensor's is called a copy. Raises RecordError for anything else,
    or for storages of more than 24 elements.
    """
    rows = [_Row(name, tensor) for name, tensor in _drawable(tensors).items()]
    for row in rows:
        row.copied = row.address != rows[0].address
    left = max(row.columns for row in rows) + _GAP
    width = left + max(len(row.held) for row in rows)
    height = sum(row.height for row in rows)
    inches = height * _INCHES / width
    figure = MemoryFigure(height=inches + _TITLE)
    figure.set_layout_engine("none")
    side = (figure.get_figwidth() - _INCHES) / 2 / figure.get_figwidth()
    axes = figure.add_axes((side, 0, 1 - 2 * side, inches / (inches + _TITLE)), xlim=(0, width), ylim=(-height, 0))
    axes.axis("off")
    top = 0.0
    for row in rows:
        _draw(axes, row, top, left)
        top -= row.height
    title = "Left: tensors. Right: their storages, as they lie in memory"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.alt = f"{title}. " + " ".join(row.words for row in rows)
    return figure


class _Row:
    """One tensor: its grid, its strides, and all that its storage holds."""

    copied = False

    def __init__(self, name: str, tensor: torch.Tensor) -> None:
        self.name = name
        self.shape, self.stride, self.offset = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        self.contiguous = tensor.is_contiguous()
        storage = tensor.untyped_storage()
        self.address, count = storage.data_ptr(), storage.nbytes() // tensor.element_size()
        if count > _MOST:
            raise RecordError(f"storage_map() draws storages of at most {_MOST} elements; that of {name} has {count}")
        grid = tensor.detach() if tensor.dim() == 2 else tensor.detach()[None]
        self.grid, self.lines, self.columns = grid.tolist(), *grid.shape
        self.held = tensor.detach().as_strided((count,), (1,), 0).tolist()
        places = torch.arange(count, device="cpu").as_strided(self.shape, self.stride, self.offset)
        self.shown = set(places.flatten().tolist())
        self.height = max(self.lines, 1 + 2 * _ARROW) + _LINE + _SPACE

    @property
    def caption(self) -> str:
        kind = "contiguous" if self.contiguous else "not contiguous"
        return f"shape {self.shape}, stride {self.stride}: {kind}{', a copy' if self.copied else ''}"

    @property
    def words(self) -> str:
        return f"{self.name}: {self.caption}; shows {len(self.shown)} of the {len(self.held)} elements in its storage."


def _drawable(tensors) -> dict:
    if not isinstance(tensors, dict) or not tensors:
        raise RecordError("storage_map() draws named tensors: storage_map({'x': x, 'x.t()': x.t()})")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dim() not in (1, 2) or not tensor.numel():
            raise RecordError(f"storage_map() draws tensors of one or two dimensions; {name} is none")
    return tensors


def _draw(axes, row: _Row, top: float, left: float) -> None:
    axes.text(0, top - 0.5, row.name, family="monospace", fontsize=10, fontweight="bold", va="center")
    axes.text(left, top - 0.5, row.caption, fontsize=10, va="center")
    middle = top - _LINE - (row.height - _LINE - _SPACE) / 2
    for line, numbers in enumerate(row.grid):
        for column, number in enumerate(numbers):
            _cell(axes, column, middle + row.lines / 2 - line - 1, number, shown=True)
    for place, number in enumerate(row.held):
        _cell(axes, left + place, middle - 0.5, number, shown=place in row.shown)
    for length, stride, style in zip(row.shape, row.stride, _ARROWS[2 - len(row.shape) :], strict=True):
        if length > 1:
            _arrow(axes, left + row.offset + 0.5, middle, stride, **style)


def _cell(axes, x: float, y: float, number, *, shown: bool) -> None:
    axes.add_patch(Rectangle((x, y), 1, 1, **(palette.IN_USE if shown else _UNUSED)))
    colour = "white" if shown else palette.GREY
    axes.text(x + 0.5, y + 0.5, f"{number:g}", ha="center", va="center", fontsize=9, color=colour)


def _arrow(axes, x: float, y: float, stride: int, *, color: str, linestyle, side: int, words: str) -> None:
    """From the tensor's first element to the next one along a dimension; no arrow where the stride is 0."""
    edge = y + side * 0.55
    if stride:
        bend = {"connectionstyle": f"arc3,rad={-side * min(0.7, 0.9 / stride)}"}
        head = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
        look = {"color": color, "linestyle": linestyle, "linewidth": 1.5}
        axes.add_patch(FancyArrowPatch((x, edge), (x + stride, edge), **bend, **head, **look))
    beside = min(x + stride + 0.35, axes.get_xlim()[1] - _LABEL)
    look = {"va": "center", "fontsize": 9, "color": color, "bbox": _PAPER}
    axes.text(beside, edge + side * 0.4, f"+{stride}: {words}", **look)
