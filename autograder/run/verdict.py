"""Does memory keep growing?"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from autograder.units import human

FEWEST = 4
"""Steady steps needed for a verdict: one in each quarter."""
WARMUP = 3
_ONE_BLOCK = 512


class Verdict(NamedTuple):
    """``kind`` is "grows", "flat", "rose", "varies", "unused" or "unknown"; ``text`` says it in a sentence."""

    kind: str
    text: str


def warmup_for(steps: int) -> int:
    """How many of the first steps are warm-up: three, fewer in a short run."""
    return max(0, min(WARMUP, steps - FEWEST))


def verdict_on(trace, unit: str, capacity: int | None) -> Verdict:
    """Judge the steady steps by their floor.

    A step's level may vary with its batch, but what leaks stays, so the lowest level of each quarter of the run lies
    above that of the quarter before, and rises in all by at least as much as levels vary within a quarter.
    """
    if not trace.samples and trace.final == 0 == trace.highest:
        return Verdict("unused", "nothing was allocated on the device in this process.")
    levels = np.array([sample.allocated for sample in trace.steady])
    if len(levels) < FEWEST:
        return Verdict("unknown", f"too few steps to judge ({len(levels)} after warm-up; {FEWEST} are needed).")
    quarters = np.array_split(levels, 4)
    floors = [int(quarter.min()) for quarter in quarters]
    rise = floors[-1] - floors[0]
    spread = float(np.median([np.ptp(quarter) for quarter in quarters]))
    if rise >= max(spread, _ONE_BLOCK):
        if all(later > earlier for earlier, later in itertools.pairwise(floors)):
            return Verdict("grows", _growth(trace, unit, capacity))
        return Verdict("rose", f"rose by {human(rise)} and then stayed: no steady growth.")
    if np.ptp(levels) < _ONE_BLOCK:
        return Verdict("flat", f"flat: {human(int(levels[-1]))} after every {unit}.")
    low, high = human(int(levels.min())), human(int(levels.max()))
    return Verdict("varies", f"no steady growth: between {low} and {high} after each {unit}.")


def _growth(trace, unit: str, capacity: int | None) -> str:
    steps = len(trace.steady)
    if trace.slope < 1:
        gained = trace.steady[-1].allocated - trace.steady[0].allocated
        return f"memory GROWS in jumps: {human(gained)} in {steps} steps."
    text = f"memory GROWS by {human(trace.slope)} per {unit}, over {steps} of them."
    left = capacity - trace.steady[-1].allocated if capacity else 0
    return text + (f" {human(capacity)} would be full after about {left / trace.slope:,.0f} more." if left > 0 else "")
