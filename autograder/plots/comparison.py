"""Two traces over the same axes."""

from __future__ import annotations

from autograder.units import human

from . import palette
from .figure import MemoryFigure
from .scale import Limits, unit_for
from .timeline import finish, shade_warmup
from .words import device_words, highest, slope_words

_TELLING = 1.2  # reserved is drawn when one trace holds this many times what the other does


def draw_comparison(before, after) -> MemoryFigure:
    """Return one figure with allocated and peak of both; reserved too, where it differs.

    When one run began with more memory in use (a notebook often still holds what the first run returned), that
    surplus is taken off its allocated and peak, so that both curves begin at the same level; the axis says so.
    """
    figure = MemoryFigure()
    axes = figure.subplots()
    start = min(before.baseline, after.baseline)
    shifted = before.baseline != after.baseline
    names = ["allocated", "peak"] + (["reserved"] if not shifted and _reserved_differs(before, after) else [])
    top = max(max(getattr(t, name) - (t.baseline - start)) for t in (before, after) for name in names)
    limits = Limits(0.0, top * 1.08 or 1.0)
    unit = unit_for(limits.top)
    for which, trace, style in (("before", before, palette.BEFORE), ("after", after, palette.AFTER)):
        steps = [sample.step for sample in trace.samples]
        for name in names:
            label = which if name == "allocated" else f"{name} {which}"
            extra = {"allocated": {}, "peak": palette.THIN, "reserved": palette.STAIRS}[name]
            values = getattr(trace, name) - (trace.baseline - start)
            axes.plot(steps, values / unit.nbytes, label=label, **{**style, **extra})
    shade_warmup(axes, max(before, after, key=lambda trace: trace.warmup))
    finish(axes, limits, unit)
    if shifted:
        axes.set_ylabel(f"{axes.get_ylabel()},\nfrom the same start")
    figure.suptitle(_title(before, after), x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.alt = _describe(before, after)
    return figure


def _reserved_differs(before, after) -> bool:
    low, high = sorted((int(max(before.reserved)), int(max(after.reserved))))
    return high > _TELLING * low


def _title(before, after) -> str:
    where = " / ".join(dict.fromkeys((device_words(before), device_words(after))))
    if abs(before.slope) >= 1 or abs(after.slope) >= 1:
        return f"Before: {slope_words(before.slope)}. After: {slope_words(after.slope)} ({where})"
    if _reserved_differs(before, after) and highest(before) <= _TELLING * highest(after):
        return f"Reserved {human(max(before.reserved))} before, {human(max(after.reserved))} after ({where})"
    return f"Peak {human(highest(before))} before, {human(highest(after))} after ({where})"


def _describe(before, after) -> str:
    parts = [
        f"{which}, over {len(trace.samples)} steps, allocated {slope_words(trace.slope)} and the highest peak is "
        f"{human(highest(trace) - trace.baseline)} above where it began"
        for which, trace in (("Before", before), ("After", after))
    ]
    return f"Two recordings on the {device_words(before)} over the same axes. {'. '.join(parts)}."
