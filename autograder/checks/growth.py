"""Does allocated memory stay where it is while the steps go on?"""

from __future__ import annotations

from autograder.checks.blame import blame
from autograder.checks.verdict import expect_settled_trace, failed, passed
from autograder.trace.result import Trace
from autograder.trace.samples import robust_slope
from autograder.units import human

BLOCK = 512
"""Bytes of the smallest block that CUDA's allocator hands out: nothing leaks less per step."""
_RETURNED_SCALARS = 4


def flat(
    trace: Trace,
    *,
    per_step: float = 0,
    of: float | None = None,
    steps: int | None = None,
    almost: tuple[float, float] | None = None,
    exercise: str | None = None,
    points: float = 1,
) -> float:
    """Check that device memory does not grow from step to step. Host memory is not device memory and may grow.

    Two quantities must hold: the slope over the steps after warm-up, and the growth in all up to the end of the
    recording. The second finds loops that pull every item first and work afterwards. It is counted from the highest
    of the early samples, and leaves room for a few returned scalars: at most 4 blocks of 512 B, and never as much as
    one block in two steps.

    A cycle (gradients set free every fourth step, losses read in groups) is no growth: there is a number of steps,
    at most half of the recording, after which no sample exceeds the one that many steps before it.

    Parameters
    ----------
    per_step : float
        Bytes by which memory may grow per step; a fraction of ``of`` if that is given.
    of : float, optional
        A measured size in bytes, such as the leak's own slope.
    steps : int, optional
        How many steps the recording must have, warm-up included: the number of items the loop was given.
    almost : (float, float), optional
        Bytes per step at which part of the points is earned, and those points. What is still wrong is printed.

    Raises
    ------
    CheckFailed
        "not flat", with the line that allocated and the holder; "too few steps" if there is nothing to judge;
        "too few steps" or "too many steps" if their number is not ``steps``.
    """
    expect_settled_trace(trace, "flat", exercise, steps)
    limit = per_step if of is None else per_step * of
    excess = _excess(trace, limit)
    if not excess:
        return passed(f"memory is flat, {human(trace.slope)} per step over {len(trace.steady)} steps", points)
    culprit, holder = blame(trace)
    error = failed("not flat", f"allowed {human(limit)} per step", excess, exercise, culprit=culprit, holder=holder)
    if almost is None or _excess(trace, almost[0]):
        raise error
    print(f"partly solved, {almost[1]:g} of {points:g} points: {error}")
    return almost[1]


def _excess(trace: Trace, limit: float) -> str:
    """Say by how much memory grew beyond ``limit`` bytes per step; nothing if it did not."""
    allocated = [sample.allocated for sample in trace.samples]
    steady = len(allocated) - trace.warmup
    slope = robust_slope(allocated[trace.warmup :])
    period = 1 if slope <= limit else _period(allocated, limit)
    if period is None:
        return f"grew {human(slope)} per step over {steady} steps"
    first = max(0, trace.warmup - 1)
    early = max(allocated[first : trace.warmup + max(period, steady // 3)])
    growth = trace.final - early
    if growth > limit * steady + BLOCK * min(_RETURNED_SCALARS, steady // 2):
        return f"grew {human(growth)} in all over {steady} steps, counted when the loop was over"
    return ""


def _period(allocated: list[int], limit: float) -> int | None:
    """Return the smallest number of steps after which memory is always back at its level, None if there is none."""
    for period in range(2, len(allocated) // 2 + 1):
        if all(after - before <= limit * period for before, after in zip(allocated, allocated[period:])):
            return period
    return None
