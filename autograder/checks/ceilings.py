"""How high does memory go, and how much does the allocator hold to serve it?"""

from __future__ import annotations

from autograder.checks.verdict import expect_settled_trace, expect_trace, failed, passed
from autograder.errors import RecordError
from autograder.trace.result import Trace
from autograder.units import human


def peak(
    trace: Trace, *, reference: Trace | int, ratio: float = 1.3, exercise: str | None = None, points: float = 1
) -> float:
    """Check that the highest allocated memory stays near a reference. Both are counted above their own start.

    Parameters
    ----------
    reference : Trace or int
        A trace of a good solution, or bytes above the start of the recording.
    ratio : float
        How many times the reference is allowed.

    Raises
    ------
    CheckFailed
        "peak too high"; "too few steps" if there is nothing to judge.
    """
    expect_settled_trace(trace, "peak", exercise)
    allowed = ratio * (_rise(reference) if isinstance(reference, Trace) else _bytes(reference, "peak"))
    reached = _rise(trace)
    if reached > allowed:
        raise failed(
            "peak too high",
            f"allowed {human(allowed)} above the start",
            f"reached {human(reached)}",
            exercise,
            advice="Look for what is alive at the same time and need not be",
        )
    return passed(f"the peak is {human(reached)} above the start, {human(allowed)} allowed", points)


def resting(
    trace: Trace, *, reference: Trace | int, ratio: float = 1.2, exercise: str | None = None, points: float = 1
) -> float:
    """Check that what is still allocated at the end of each steady step, and of the recording, stays near a reference.

    The peak tells what a step needs while it runs, this what it leaves lying about until the next: gradients, casts
    of weights, last outputs. Both are counted above their own start.

    Parameters
    ----------
    reference : Trace or int
        A trace of a good solution, or bytes above the start of the recording.
    ratio : float
        How many times the reference is allowed.

    Raises
    ------
    CheckFailed
        "rests too high"; "too few steps" if there is nothing to judge.
    """
    expect_settled_trace(trace, "resting", exercise)
    allowed = ratio * (_rest(reference) if isinstance(reference, Trace) else _bytes(reference, "resting"))
    left = _rest(trace)
    if left > allowed:
        raise failed(
            "rests too high",
            f"allowed {human(allowed)} above the start between steps",
            f"found {human(left)}",
            exercise,
            advice="Look for what one step keeps for the next",
        )
    return passed(f"{human(left)} above the start between steps, {human(allowed)} allowed", points)


def reserved(trace: Trace, *, ratio: float, exercise: str | None = None, points: float = 1) -> float:
    """Check that the allocator reserves at most ``ratio`` times the peak that was allocated in the steady steps.

    Memory reserved before the recording counts: empty the cache first. On the CPU reserved equals allocated, so the
    check always passes there.

    Raises
    ------
    CheckFailed
        "reserved too high"; "too few steps" if there is nothing to judge.
    """
    expect_settled_trace(trace, "reserved", exercise)
    held = max(sample.reserved for sample in trace.steady)
    used = max(1, max(sample.peak for sample in trace.steady))
    if held > ratio * used:
        raise failed(
            "reserved too high",
            f"allowed {ratio:g} times the peak of {human(used)}",
            f"reserved {human(held)}, {held / used:.2f} times",
            exercise,
            advice="Look at the order and the sizes of the allocations",
        )
    return passed(f"reserved is {held / used:.2f} times the peak, {ratio:g} allowed", points)


def _rise(trace: Trace) -> int:
    expect_trace(trace, "peak")
    return trace.highest - trace.baseline


def _rest(trace: Trace) -> int:
    expect_trace(trace, "resting")
    return max(*(sample.allocated for sample in trace.steady), trace.final) - trace.baseline


def _bytes(reference, check: str) -> float:
    if isinstance(reference, bool) or not isinstance(reference, (int, float)):
        raise RecordError(f"check.{check}(reference=...) expects a trace or bytes, got {type(reference).__name__}")
    return reference
