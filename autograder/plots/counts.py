"""What is counted in each step (copies, waits, allocations), of one recording or of two."""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from autograder.errors import RecordError
from autograder.units import human

from . import palette
from .figure import MemoryFigure
from .scale import unit_for
from .timeline import shade_warmup
from .words import device_words

COUNTED = {
    "allocations": "allocations",
    "h2d_count": "copies to the device",
    "h2d_bytes": "copied to the device",
    "d2h_count": "copies to the host",
    "d2h_bytes": "copied to the host",
    "syncs": "syncs",
}
"""Columns of a trace that can be drawn, and their words."""
_FIRST, _PANEL = 1.5, 1.15  # inches: title, legend and step axis; each panel
_SIDE = {1: -0.11, 2: 0.11}  # two recordings are drawn side by side, not over one another


def draw_counts(traces: dict, columns, subtitle: str = "") -> MemoryFigure:
    """Return one panel per column, with a stem per step for each trace; ``traces`` maps names to traces.

    What was counted after the last step is drawn one place further right. Raises RecordError for a column that is
    not counted per step.
    """
    columns = [columns] if isinstance(columns, str) else list(columns)
    for column in columns:
        if column not in COUNTED:
            raise RecordError(f"plot(counts=...) can draw {', '.join(COUNTED)}; it was given {column!r}")
    figure = MemoryFigure(height=_FIRST + _PANEL * len(columns))
    panels = figure.subplots(len(columns), sharex=True, squeeze=False)[:, 0]
    for axes, column in zip(panels, columns, strict=True):
        _panel(axes, traces, column)
    _legend(panels[0], traces)
    late = any(_late(trace, column) for trace in traces.values() for column in columns)
    panels[-1].set_xlabel("step (the last mark: after the loop)" if late else "step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(_title(traces, columns[0]), x=0.01, ha="left", fontsize=12, fontweight="bold")
    if subtitle:
        above = 28 if len(traces) > 1 or panels[0].get_legend() else 8
        panels[0].set_title(subtitle, loc="left", fontsize=10, color=palette.GREY, pad=above)
    figure.alt = " ".join(filter(None, [_describe(traces, columns), subtitle]))
    return figure


def per_step(trace, column: str) -> float:
    """Return the mean over the steady steps."""
    steady = [getattr(sample, column) for sample in trace.steady]
    return sum(steady) / len(steady) if steady else 0.0


def _panel(axes, traces: dict, column: str) -> None:
    every = [value for trace in traces.values() for value in (*getattr(trace, column), _late(trace, column))]
    unit = unit_for(max(every)) if column.endswith("_bytes") else None
    scale = unit.nbytes if unit else 1
    for place, (name, trace) in enumerate(traces.items(), start=1):
        values = [int(value) for value in getattr(trace, column)]
        values += [_late(trace, column)] if _late(trace, column) else []
        shift = _SIDE[place] if len(traces) == 2 else 0.0
        style = palette.STEMS[place - 1] if len(traces) == 2 else palette.STEMS[1]
        steps = [step + shift for step in range(len(values))]
        heights = [value / scale for value in values]
        axes.vlines(steps, 0, heights, color=style["color"], linewidth=2)
        axes.plot(steps, heights, linestyle="", label=name, clip_on=False, zorder=5, **style)
    shade_warmup(axes, max(traces.values(), key=lambda trace: trace.warmup))
    axes.set_ylim(0, max(every) / scale * 1.2 or 1.0)
    axes.set_ylabel(COUNTED[column].replace(" to ", "\nto ") + (f"\n({unit.name})" if unit else ""), fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=unit is None))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _late(trace, column: str) -> int:
    return int(getattr(trace.after_loop, column)) if trace.after_loop is not None else 0


def _legend(axes, traces: dict) -> None:
    if len(traces) > 1 or any(trace.warmup for trace in traces.values()):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)


def _title(traces: dict, column: str) -> str:
    where = " / ".join(dict.fromkeys(map(device_words, traces.values())))
    words = COUNTED[column]
    rates = {name: _rate_words(trace, column) for name, trace in traces.items()}
    if len(rates) == 1:
        (rate,) = rates.values()
        return f"{words[0].upper()}{words[1:]}: {rate} per step ({where})"
    told = ", ".join(f"{rate} {name}" for name, rate in rates.items())
    return f"{words[0].upper()}{words[1:]} per step: {told} ({where})"


def _rate_words(trace, column: str) -> str:
    rate = per_step(trace, column)
    return human(rate) if column.endswith("_bytes") else f"{rate:.3g}"


def _describe(traces: dict, columns) -> str:
    parts = []
    for name, trace in traces.items():
        rates = ", ".join(f"{COUNTED[column]} {_rate_words(trace, column)} per step" for column in columns)
        late = [f"{COUNTED[c]} {_late(trace, c)}" for c in columns if _late(trace, c)]
        after = f", and after the loop {', '.join(late)}" if late else ""
        parts.append(f"{name}, over {len(trace.samples)} steps on the {device_words(trace)}: {rates}{after}")
    return f"Counts at each step. {'. '.join(parts)}."
