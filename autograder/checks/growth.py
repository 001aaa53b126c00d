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
    exercise: str | None = None,
    points: float = 1,
) -> float:
    """Check that device memory does not grow from step to step. Host memory is not device memory and may grow.

    Two quantities must hold: the slope over the steps after warm-up, and the growth in all up to the end of the
    recording. The second finds loops that pull every item first and work afterwards. It is counted from the highest
    of the early samples, so that a cycle (gradients set free every fourth step) is not growth, and leaves room for a
    few returned scalars: at most 4 blocks of 512 B, and never as much as one block in two steps.

    Parameters
    ----------
    per_step : float
        Bytes by which memory may grow per step; a fraction of ``of`` if that is given.
    of : float, optional
        A measured size in bytes, such as the leak's own slope.
    steps : int, optional
        How many steps the recording must have, warm-up included: the number of items the loop was given.

    Raises
    ------
    CheckFailed
        "not flat", with the line that allocated and the holder; "too few steps" if there is nothing to judge;
        "too few steps" or "too many steps" if their number is not ``steps``.
    """
    expect_settled_trace(trace, "flat", exercise, steps)
    limit = per_step if of is None else per_step * of
    allocated = [sample.allocated for sample in trace.samples]
    steady = len(allocated) - trace.warmup
    slope = robust_slope(allocated[trace.warmup :])
    growth = trace.final - _early_level(allocated, trace.warmup)
    if slope > limit:
        actual = f"grew {human(slope)} per step over {steady} steps"
    elif growth > limit * steady + BLOCK * min(_RETURNED_SCALARS, steady // 2):
        actual = f"grew {human(growth)} in all over {steady} steps, counted when the loop was over"
    else:
        return passed(f"memory is flat, {human(slope)} per step over {steady} steps", points)
    culprit, holder = blame(trace)
    raise failed("not flat", f"allowed {human(limit)} per step", actual, exercise, culprit=culprit, holder=holder)


def _early_level(allocated: list[int], warmup: int) -> int:
    steps = len(allocated) - warmup
    return max(allocated[max(0, warmup - 1) : warmup + max(1, steps // 3)])
