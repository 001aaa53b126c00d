"""The numbers a recording keeps: raw counters, one sample per step, and the robust slope through them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAX_SLOPE_POINTS = 500
"""Pairs grow with the square of the points: longer series are thinned evenly to this many."""


class Counters(NamedTuple):
    """What a device counts at one instant.

    ``allocated``, ``reserved`` and ``peak`` are bytes now; the others are totals since some fixed start
    (``*_bytes`` in bytes, the rest in events).
    """

    allocated: int
    reserved: int
    peak: int
    allocations: int
    h2d_count: int
    h2d_bytes: int
    d2h_count: int
    d2h_bytes: int
    syncs: int


class Sample(NamedTuple):
    """One step: bytes at its end, the highest allocated within it, and what was counted within it."""

    step: int
    allocated: int
    reserved: int
    peak: int
    allocations: int
    h2d_count: int
    h2d_bytes: int
    d2h_count: int
    d2h_bytes: int
    syncs: int


def sample_between(step: int, before: Counters, after: Counters) -> Sample:
    """Return the sample of the step that ran between two readings."""
    counted = (max(0, new - old) for old, new in zip(before[3:], after[3:], strict=True))
    return Sample(step, after.allocated, after.reserved, after.peak, *counted)


def robust_slope(values) -> float:
    """Return the Theil-Sen slope of equally spaced values, in units per step (0.0 for fewer than two).

    The median of the slopes through all pairs of points: one odd step cannot move it, and a series without
    noise gives its exact rate. Source: H. Theil (1950), "A rank-invariant method of linear and polynomial
    regression analysis"; P. K. Sen (1968), "Estimates of the regression coefficient based on Kendall's tau".
    """
    y = np.asarray(values, dtype=np.float64)
    if y.size < 2:
        return 0.0
    x = np.arange(y.size)
    if y.size > MAX_SLOPE_POINTS:
        x = np.linspace(0, y.size - 1, MAX_SLOPE_POINTS).round().astype(int)
        y = y[x]
    first, second = np.triu_indices(y.size, k=1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))
