"""``plot``: one trace over time, or two in one picture."""

from __future__ import annotations

from autograder.errors import RecordError

from .comparison import draw_comparison
from .figure import MemoryFigure
from .prediction import Prediction, last_prediction
from .timeline import draw_timeline


def plot(trace=None, prediction: str | Prediction | bool | None = None, *, before=None, after=None) -> MemoryFigure:
    """Draw a trace over its steps, or two traces ``before=`` and ``after=`` over the same axes.

    One trace is drawn with the learner's last prediction over it; ``prediction`` overrides that with words
    ("grows") or, if False, with none. The figure is shown by being a cell's last expression; it keeps a
    description in ``alt``. Raises RecordError when there is nothing to draw.
    """
    if trace is not None and before is None and after is None:
        return draw_timeline(_drawable(trace), _prediction(prediction))
    if trace is None and before is not None and after is not None:
        return draw_comparison(_drawable(before), _drawable(after))
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
