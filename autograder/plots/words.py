"""What a trace did, in the words that titles and descriptions use."""

from __future__ import annotations

from autograder.units import human

DEVICES = {"cuda": "GPU", "simgpu": "simulated GPU", "cpu": "CPU"}


def device_words(trace) -> str:
    return DEVICES.get(trace.source, trace.source)


def slope_words(slope: float) -> str:
    """Return "stays flat", "grows 4.0 KiB per step" or "falls 4.0 KiB per step" (less than a byte is flat)."""
    if abs(slope) < 1:
        return "stays flat"
    return f"{'grows' if slope > 0 else 'falls'} {human(abs(slope))} per step"


def highest(trace) -> int:
    """Return the peak of the steady steps, in bytes."""
    return max((sample.peak for sample in trace.steady), default=0)
