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


def expect_settled_trace(trace, check: str, exercise: str | None) -> None:
    """Raise CheckFailed ("too few steps") unless the trace has enough steps after warm-up to judge.

    A function that never pulls its items from ``trace.steps(...)``, or stops early, must not pass.
    """
    expect_trace(trace, check)
    steady = max(0, len(trace.samples) - trace.warmup)
    if steady >= LEAST_STEPS:
        return
    ended = f" and ended by {type(trace.error).__name__}" if trace.error is not None else ""
    raise failed(
        "too few steps",
        f"expected at least {LEAST_STEPS} steps after {trace.warmup} of warm-up",
        f"the trace has {len(trace.samples)} in all{ended}",
        exercise,
        advice="The loop must go through every item it is given",
    )
