"""Numbers that a loop returned, one per step, such as its losses: one line per run."""

from __future__ import annotations

from itertools import cycle

from matplotlib.ticker import MaxNLocator

from autograder.errors import RecordError

from . import palette
from .figure import MemoryFigure

_HEIGHT = 2.6  # inches
_STYLES = (palette.BEFORE, palette.AFTER, palette.THIRD)


def draw_curves(curves: dict, of: str, subtitle: str = "") -> MemoryFigure:
    """Return one figure with a line per run; ``curves`` maps names to sequences of numbers, ``of`` says what they are.

    Raises RecordError where there is nothing to draw.
    """
    series = {name: _numbers(name, values) for name, values in dict(curves).items()}
    if not series:
        raise RecordError("plot(curves=...) has nothing to draw: give it {name: numbers, ...}")
    figure = MemoryFigure(height=_HEIGHT)
    axes = figure.subplots()
    for (name, values), style in zip(series.items(), cycle(_STYLES), strict=False):
        axes.plot(range(len(values)), values, label=name, **style)
    axes.set(xlabel="step", ylabel=of)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.01)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), frameon=False, fontsize=9)
    told = [f"{name} from {values[0]:.4g} to {values[-1]:.4g}" for name, values in series.items()]
    ends = ", ".join(f"{values[-1]:.4g} {name}" for name, values in series.items())
    figure.suptitle(f"{of.capitalize()} at the end: {ends}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    if subtitle:
        axes.set_title(subtitle, loc="left", fontsize=10, color=palette.GREY, pad=26)
    steps = max(map(len, series.values()))
    figure.alt = " ".join(filter(None, [f"Line plot of the {of} over {steps} steps: {', '.join(told)}.", subtitle]))
    return figure


def _numbers(name: str, values) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if not numbers:
        raise RecordError(f"plot(curves=...) expects a sequence of numbers for {name!r}, got {type(values).__name__}")
    return numbers
