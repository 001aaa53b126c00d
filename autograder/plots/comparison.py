"""Two traces over the same axes."""

from __future__ import annotations

from autograder.units import human

from . import palette
from .figure import MemoryFigure
from .scale import Limits, unit_for
from .timeline import above_legend, finish, shade_warmup
from .words import device_words, highest, slope_words

_TELLING = 1.2  # reserved is drawn when one trace holds this many times what the other does


def draw_comparison(before, after, names=("before", "after"), subtitle: str = "") -> MemoryFigure:
    """Return one figure with allocated and peak of both; reserved too, where it differs.

    When one run began with more memory in use (a notebook often still holds what the first run returned), that
    surplus is taken off its allocated and peak, so that both curves begin at the same level; the axis says so.
    """
    figure = MemoryFigure()
    axes = figure.subplots()
    start = min(before.baseline, after.baseline)
    shifted = before.baseline != after.baseline
    curves = ["allocated", "peak"] + (["reserved"] if not shifted and _reserved_differs(before, after) else [])
    top = max(max(getattr(t, name) - (t.baseline - start)) for t in (before, after) for name in curves)
    limits = Limits(0.0, top * 1.08 or 1.0)
    unit = unit_for(limits.top)
    for which, trace, style in zip(names, (before, after), (palette.BEFORE, palette.AFTER), strict=True):
        steps = [sample.step for sample in trace.samples]
        for name in curves:
            label = which if name == "allocated" else f"{name} {which}"
            extra = {"allocated": {}, "peak": palette.THIN, "reserved": palette.STAIRS}[name]
            values = getattr(trace, name) - (trace.baseline - start)
            axes.plot(steps, values / unit.nbytes, label=label, **{**style, **extra})
    shade_warmup(axes, max(before, after, key=lambda trace: trace.warmup))
    rows = finish(axes, limits, unit)
    if subtitle:
        axes.set_title(subtitle, loc="left", fontsize=10, color=palette.GREY, pad=above_legend(rows))
    if shifted:
        axes.set_ylabel(f"{axes.get_ylabel()},\nfrom the same start")
    figure.suptitle(_title(before, after, names, start), x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.alt = " ".join(filter(None, [_describe(before, after, names), subtitle]))
    return figure


def _reserved_differs(before, after) -> bool:
    low, high = sorted((int(max(before.reserved)), int(max(after.reserved))))
    return high > _TELLING * low


def _title(before, after, names, start: int) -> str:
    """Say what changed, with peaks as they are drawn: both from the same ``start`` in bytes."""
    first, second = names
    where = " / ".join(dict.fromkeys((device_words(before), device_words(after))))
    if abs(before.slope) >= 1 or abs(after.slope) >= 1:
        return (
            f"{_capital(first)}: {slope_words(before.slope)}. {_capital(second)}: {slope_words(after.slope)} ({where})"
        )
    low, high = sorted((highest(before), highest(after)))
    if _reserved_differs(before, after) and high <= _TELLING * low:
        return f"Reserved {human(max(before.reserved))} {first}, {human(max(after.reserved))} {second} ({where})"
    peaks = [human(highest(trace) - (trace.baseline - start)) for trace in (before, after)]
    return f"Peak {peaks[0]} {first}, {peaks[1]} {second} ({where})"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _describe(before, after, names) -> str:
    parts = [
        f"{which}, over {len(trace.samples)} steps, allocated {slope_words(trace.slope)} and the highest peak is "
        f"{human(highest(trace) - trace.baseline)} above where it began"
        for which, trace in zip(map(_capital, names), (before, after), strict=True)
    ]
    return f"Two recordings on the {device_words(before)} over the same axes. {'. '.join(parts)}."
