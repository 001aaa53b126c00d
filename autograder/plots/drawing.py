"""``plot``: one trace over time, or two in one picture."""

from __future__ import annotations

from autograder.errors import RecordError

from .comparison import draw_comparison
from .counts import draw_counts
from .curves import draw_curves
from .figure import MemoryFigure
from .prediction import Prediction, last_prediction
from .shapes import outcome_words
from .timeline import draw_timeline


def plot(
    trace=None,
    prediction: str | Prediction | bool | None = None,
    *,
    before=None,
    after=None,
    names: tuple[str, str] = ("before", "after"),
    counts=None,
    curves: dict | None = None,
    of: str = "loss",
    outcome: str | None = None,
) -> MemoryFigure:
    """Draw a trace over its steps, or two traces ``before=`` and ``after=`` over the same axes.

    One trace is drawn with the learner's last prediction over it; ``prediction`` overrides that with words
    ("grows") or, if False, with none. The figure is shown by being a cell's last expression; it keeps a
    description in ``alt``. Raises RecordError when there is nothing to draw.

    Parameters
    ----------
    names : tuple of two str
        What the two traces are called, where they are not a before and an after.
    counts : str or sequence of str
        Draw what was counted in each step instead of bytes held: "allocations", "syncs", "h2d_count", "h2d_bytes",
        "d2h_count", "d2h_bytes", one panel each; the first of them is in the title.
    curves : dict of str to sequence of numbers
        Draw these numbers, one line per name, instead of a trace: what a loop returned at each step. ``of`` says what
        they are.
    outcome : str
        The choice that the measurement proved right, for a prediction that is not about the shape of allocated
        memory: the figure then says whether the learner chose it.
    """
    traces = _traces(trace, before, after, names) if curves is None else {}
    said = _prediction(prediction) if trace is not None or outcome else None
    if outcome is not None:
        subtitle = outcome_words(said, outcome)
        said = None
    else:
        subtitle = ""
    if curves is not None:
        return draw_curves(curves, of, subtitle)
    if counts is not None:
        return draw_counts(traces, counts, subtitle)
    if trace is None:
        return draw_comparison(before, after, names, subtitle)
    return draw_timeline(trace, said, subtitle)


def _traces(trace, before, after, names) -> dict:
    if trace is not None and before is None and after is None:
        return {"recorded": _drawable(trace)}
    if trace is None and before is not None and after is not None:
        return dict(zip(names, map(_drawable, (before, after)), strict=True))
    raise RecordError("plot() takes one recording, plot(trace), or two: plot(before=first, after=second)")


def _drawable(trace):
    if not hasattr(trace, "samples"):
        raise RecordError(f"plot() draws what ag.record(...) returned; it was given {type(trace).__name__}")
    if not trace.samples:
        raise RecordError("this recording has no steps, so there is nothing to draw: did its loop run at all?")
    return trace


def _prediction(given) -> Prediction | None:
    if given is None:
        return last_prediction()
    if isinstance(given, str):
        return Prediction("", given, (given,))
    return given or None
