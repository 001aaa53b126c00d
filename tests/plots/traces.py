"""Traces made of plain numbers, so that every line of a figure has a known answer."""

from types import SimpleNamespace

import numpy as np

from autograder.trace.samples import Sample, robust_slope


def make_trace(allocated, peak=None, reserved=None, warmup=3, source="simgpu", baseline=0):
    """Return what the plots read of a Trace."""
    peak = allocated if peak is None else peak
    reserved = peak if reserved is None else reserved
    rows = list(zip(allocated, peak, reserved, strict=True))
    samples = [Sample(i, a, r, p, 0, 0, 0, 0, 0, 0) for i, (a, p, r) in enumerate(rows)]
    steady = samples[warmup:]
    return SimpleNamespace(
        samples=samples, steady=steady, warmup=warmup, source=source, simulated=source == "simgpu",
        allocated=np.array(allocated), peak=np.array(peak), reserved=np.array(reserved),
        baseline=baseline, slope=robust_slope([sample.allocated for sample in steady]),
    )  # fmt: skip
