"""One trace: allocated, peak and reserved at each step."""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from autograder.units import human

from . import palette
from .figure import MemoryFigure
from .prediction import Prediction
from .scale import Limits, curve_label, limits_for, unit_for
from .shapes import measured_shape, predicted_values, verdict_words
from .words import device_words, highest, slope_words

_LEGEND_LETTERS = 58  # of all labels together, that fit in one row
_LEGEND_ROW = 16  # points


def draw_timeline(trace, prediction: Prediction | None, subtitle: str = "") -> MemoryFigure:
    """Return the figure of one trace, with the prediction over it if there is one, or a subtitle."""
    figure = MemoryFigure()
    axes = figure.subplots()
    steps = [sample.step for sample in trace.samples]
    guess = predicted_values(prediction, trace) if prediction else None
    limits = limits_for(trace.allocated, _others(trace, guess), trace.slope >= 1)
    unit = unit_for(limits.top)
    _draw_curves(axes, steps, trace, limits, unit)
    if guess is not None:
        first = len(steps) - len(guess)
        axes.plot(steps[first:], [v / unit.nbytes for v in guess], label="you predicted", **palette.PREDICTED)
    shade_warmup(axes, trace)
    rows = finish(axes, limits, unit)
    figure.suptitle(_title(trace), x=0.01, ha="left", fontsize=12, fontweight="bold")
    subtitle = verdict_words(prediction, trace) if prediction else subtitle
    if subtitle:
        axes.set_title(subtitle, loc="left", fontsize=10, color=palette.GREY, pad=above_legend(rows))
    figure.alt = " ".join(filter(None, [_describe(trace), subtitle]))
    return figure


def _others(trace, guess) -> list:
    return [list(trace.peak), list(trace.reserved), *([guess] if guess else [])]


def _draw_curves(axes, steps, trace, limits: Limits, unit) -> None:
    for name, style in (("allocated", palette.ALLOCATED), ("peak", palette.PEAK), ("reserved", palette.RESERVED)):
        values = getattr(trace, name)
        axes.plot(steps, values / unit.nbytes, label=curve_label(name, values, limits), **style)


def shade_warmup(axes, trace) -> None:
    """Grey out the steps that no figure counts."""
    warm = trace.samples[: trace.warmup]
    if warm:
        axes.axvspan(warm[0].step - 0.5, warm[-1].step + 0.5, label="warm-up", **palette.WARMUP)


def finish(axes, limits: Limits, unit) -> int:
    """Label and limit the axes, and put the legend above them, where it hides nothing; return its rows."""
    axes.set_ylim(limits.bottom / unit.nbytes, limits.top / unit.nbytes)
    axes.set_ylabel(f"memory ({unit.name})" + (",\nnot from zero" if limits.cut else ""))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.01)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    labels = axes.get_legend_handles_labels()[1]
    columns = len(labels) if sum(map(len, labels)) <= _LEGEND_LETTERS else 3
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, fontsize=9)
    return -(-len(labels) // columns)


def above_legend(rows: int) -> int:
    """Return the points between the axes and a line of text above a legend of so many rows."""
    return 10 + rows * _LEGEND_ROW


def _title(trace) -> str:
    faster = ", faster and faster" if measured_shape(trace) == "accelerates" else ""
    return f"Allocated memory {slope_words(trace.slope)}{faster} ({device_words(trace)})"


def _describe(trace) -> str:
    first, last = trace.samples[0], trace.samples[-1]
    return (
        f"Line plot of memory over {len(trace.samples)} steps on the {device_words(trace)}, the first {trace.warmup} of "
        f"them warm-up. Allocated {slope_words(trace.slope)}, from {human(first.allocated)} to {human(last.allocated)}; "
        f"highest peak {human(highest(trace))}, reserved {human(last.reserved)} at the end."
    )
