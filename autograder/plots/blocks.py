"""The allocator's segments, one row each, and the blocks in them."""

from __future__ import annotations

import torch
from matplotlib.patches import Patch, Rectangle

from autograder.errors import RecordError
from autograder.trace import devices
from autograder.units import human

from . import palette
from .figure import MemoryFigure
from .scale import unit_for
from .words import DEVICES

_MOST_ROWS = 16
_ROW = 0.34  # inches
_THINNEST = 0.004  # of the axis: a block of 512 B must be seen in a segment of 20 MiB
_NARROW = 0.012
_WORTH_A_LABEL = 0.1  # of the axis

_STATES = {"active_allocated": ("in use", palette.IN_USE), "active_pending_free": ("waiting", palette.PENDING)}
_CACHED = ("free, kept by PyTorch", palette.FREE)


def block_map(what=None) -> MemoryFigure:
    """Draw the allocator's segments and blocks: of a device now (by default the lesson's), or of a trace at its end.

    Also takes a snapshot in the format of ``torch.cuda.memory._snapshot()``. The largest 16 segments are drawn.
    Raises RecordError for anything else.
    """
    snapshot, where = _find(what)
    segments = sorted(snapshot["segments"], key=lambda segment: (-segment["total_size"], segment["address"]))
    shown = segments[:_MOST_ROWS]
    figure = MemoryFigure(height=1.3 + _ROW * max(len(shown), 1))
    axes = figure.subplots()
    longest = max((segment["total_size"] for segment in shown), default=1)
    unit = unit_for(longest)
    for row, segment in enumerate(shown):
        _draw_segment(axes, row, segment, longest, unit.nbytes)
    _finish(axes, shown, longest, unit)
    figure.suptitle(_title(segments, where), x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.alt = _describe(segments, shown, where)
    return figure


def _find(what) -> tuple[dict, str]:
    """Return a snapshot and the words for where it is from."""
    if isinstance(what, dict) and "segments" in what:
        return what, "snapshot"
    if hasattr(what, "snapshot") and hasattr(what, "samples"):
        return what.snapshot(), DEVICES.get(what.source, what.source)
    if what is not None and not isinstance(what, (str, torch.device)):
        raise RecordError(f"block_map() draws a device, a recording or a snapshot; it was given {type(what).__name__}")
    device = devices.default_device() if what is None else torch.device(what)
    return _snapshot_of(device), DEVICES.get(device.type, device.type)


def _snapshot_of(device: torch.device) -> dict:
    if device.type == "cpu":
        from autograder.trace.meters import cpu

        return cpu.snapshot()
    return torch.get_device_module(device).memory._snapshot()


def _draw_segment(axes, row: int, segment: dict, longest: int, unit: int) -> None:
    start = 0
    for state, size, count in _runs(segment["blocks"], longest):
        style = _STATES.get(state, _CACHED)[1]
        width = max(size, _THINNEST * longest)
        left = max(0, min(start, segment["total_size"] - width))
        axes.add_patch(Rectangle((left / unit, row - 0.4), width / unit, 0.8, **style))
        if size >= _WORTH_A_LABEL * longest:
            words = human(size) if count == 1 else f"{count} blocks, {human(size)}"
            _label(axes, (start + size / 2) / unit, row, words, dark=state in _STATES)
        start += size


def _runs(blocks: list[dict], longest: int) -> list[tuple[str, int, int]]:
    """Return ``(state, bytes, blocks)`` from left to right; neighbours too narrow to see apart become one.

    Outlines around them would cover them and make memory in use look empty.
    """
    runs = []
    narrow = False
    for block in blocks:
        was_narrow, narrow = narrow, block["size"] < _NARROW * longest
        if runs and was_narrow and narrow and runs[-1][0] == block["state"]:
            state, size, count = runs.pop()
            runs.append((state, size + block["size"], count + 1))
        else:
            runs.append((block["state"], block["size"], 1))
    return runs


def _label(axes, x: float, row: int, words: str, *, dark: bool) -> None:
    box = None if dark else {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.text(x, row, words, ha="center", va="center", fontsize=8, color="white" if dark else "black", bbox=box)


def _finish(axes, shown: list[dict], longest: int, unit) -> None:
    axes.set_xlim(0, longest / unit.nbytes * 1.01)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), [_segment_words(segment) for segment in shown], fontsize=8)
    axes.set_xlabel(f"bytes from the start of the segment ({unit.name})")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    states = {block["state"] for segment in shown for block in segment["blocks"]}
    entries = [*(_STATES[state] for state in _STATES if state in states), _CACHED]
    handles = [Patch(label=label, **style) for label, style in entries]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)


def _segment_words(segment: dict) -> str:
    return f"{segment['segment_type']} {human(segment['total_size'])}"


def _title(segments: list[dict], where: str) -> str:
    used = sum(segment["allocated_size"] for segment in segments)
    total = sum(segment["total_size"] for segment in segments)
    count = f"{len(segments)} segment{'' if len(segments) == 1 else 's'}"
    return f"{human(used)} in use of {human(total)} reserved, {count} ({where})"


def _describe(segments: list[dict], shown: list[dict], where: str) -> str:
    rows = "; ".join(
        f"a {_segment_words(segment)} segment with {human(segment['allocated_size'])} in use in "
        f"{sum(block['state'] in _STATES for block in segment['blocks'])} blocks"
        for segment in shown
    )
    hidden = len(segments) - len(shown)
    rest = f" {hidden} smaller segments are not shown." if hidden else ""
    return f"Map of the allocator's blocks: {_title(segments, where)}. {rows[:1].upper()}{rows[1:]}.{rest}"
