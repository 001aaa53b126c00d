"""How every check ends: one printed line and its points, or one exception that says what to do next."""

from __future__ import annotations

from autograder.errors import CheckFailed, RecordError
from autograder.trace.result import Trace

LEAST_STEPS = 3
"""Steady steps below which growth cannot be told from a single jump."""


def passed(what: str, points: float) -> float:
    """Print the line that says what is right, and return the points."""
    print(f"passed: {what}")
    return points


def failed(rule: str, limit: str, actual: str, exercise: str | None, *, culprit=None, holder=None, advice=None):
    """Return the exception of a failed check; ``advice`` comes before the pointer to the exercise's hints."""
    pointer = f'Try ag.hint("{exercise}")' if exercise else None
    next_step = ". ".join(part for part in (advice, pointer) if part) or None
    return CheckFailed(rule, limit, actual, culprit, holder, next_step)


def expect_trace(trace, check: str) -> None:
    """Raise RecordError unless given a trace."""
    if not isinstance(trace, Trace):
        raise RecordError(f"check.{check}() expects a trace from ag.record(...), got {type(trace).__name__}")


def expect_settled_trace(trace, check: str, exercise: str | None, steps: int | None = None) -> None:
    """Raise CheckFailed unless the trace has enough steps after warm-up to judge, or exactly ``steps`` in all.

    A function that never pulls its items from ``trace.steps(...)``, or stops early, must not pass ("too few steps");
    nor, where the number is known, one that pulls more than there are to thin out what it does ("too many steps").
    """
    expect_trace(trace, check)
    found = len(trace.samples)
    ended = f" and ended by {type(trace.error).__name__}" if trace.error is not None else ""
    actual = f"the trace has {found} in all{ended}"
    if steps is not None and found > steps:
        advice = "The loop must go through its items once"
        raise failed("too many steps", f"expected {steps}, warm-up included", actual, exercise, advice=advice)
    wanted = f"expected {steps}, warm-up included"
    if steps is None or steps < trace.warmup + LEAST_STEPS:
        steps = trace.warmup + LEAST_STEPS
        wanted = f"expected at least {LEAST_STEPS} steps after {trace.warmup} of warm-up"
    if found < steps:
        advice = "The loop must go through every item it is given"
        raise failed("too few steps", wanted, actual, exercise, advice=advice)
