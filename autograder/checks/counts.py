"""How often per step: allocations, copies between host and device, waits.

A mean over the steady steps. What happens between the last step and the end of the recording must fit into the same
mean, except for a few events that every loop may end with (``after_loop``): so pulling every item first and working
afterwards hides nothing.
"""

from __future__ import annotations

from autograder.checks.verdict import expect_settled_trace, failed, passed
from autograder.trace.result import Trace

_NOT_ON_CPU = " (plain CPU tensors are never copied: nothing was measured)"


def allocations(
    trace: Trace, *, per_step: float, after_loop: int = 8, exercise: str | None = None, points: float = 1
) -> float:
    """Check how many times per step device memory is allocated. Raises CheckFailed, "too many allocations"."""
    expect_settled_trace(trace, "allocations", exercise)
    rate = _rate(trace, "allocations", after_loop)
    if rate > per_step:
        raise failed(
            "too many allocations",
            f"allowed {per_step:g} per step",
            f"counted {rate:g}",
            exercise,
            advice="Allocate once before the loop what every step needs",
        )
    return passed(f"{rate:g} allocations per step, {per_step:g} allowed", points)


def copies(
    trace: Trace,
    *,
    h2d: float | None = None,
    d2h: float | None = None,
    after_loop: int = 2,
    exercise: str | None = None,
    points: float = 1,
) -> float:
    """Check copies per step, host to device (``h2d``) and device to host (``d2h``); None leaves one unjudged.

    On the CPU there are no copies, so the check always passes there. Raises CheckFailed, "too many copies".
    """
    expect_settled_trace(trace, "copies", exercise)
    counted = []
    for allowed, column, direction in ((h2d, "h2d_count", "host to device"), (d2h, "d2h_count", "device to host")):
        if allowed is None:
            continue
        rate = _rate(trace, column, after_loop)
        if rate > allowed:
            raise failed(
                "too many copies",
                f"allowed {allowed:g} per step from {direction}",
                f"counted {rate:g}",
                exercise,
                advice="Copy once, before or after the loop, or create the tensor where it is used",
            )
        counted.append(f"{rate:g} copies per step from {direction}, {allowed:g} allowed")
    note = _NOT_ON_CPU if trace.source == "cpu" else ""
    return passed("; ".join(counted) + note, points)


def syncs(
    trace: Trace, *, per_step: float, after_loop: int = 2, exercise: str | None = None, points: float = 1
) -> float:
    """Check how often per step the host waits for the device. Raises CheckFailed, "too many syncs"."""
    expect_settled_trace(trace, "syncs", exercise)
    rate = _rate(trace, "syncs", after_loop)
    if rate > per_step:
        raise failed(
            "too many syncs",
            f"allowed {per_step:g} per step",
            f"counted {rate:g}",
            exercise,
            advice="Reading a value (item, tolist, print, if) waits for the device: do it less often",
        )
    return passed(f"{rate:g} syncs per step, {per_step:g} allowed", points)


def _rate(trace: Trace, column: str, after_loop: int) -> float:
    steady = [getattr(sample, column) for sample in trace.steady]
    late = max(0, getattr(trace.after_loop, column) - after_loop)
    return (sum(steady) + late) / len(steady)
