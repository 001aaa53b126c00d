"""Does the recorder still tell the truth? A leak of known size must be read as exactly that size."""

from __future__ import annotations

from autograder.errors import Tampered
from autograder.units import human

CANARY_BYTES = 4096
"""Kept per step; a multiple of the allocator's 512-byte rounding on every device."""
_STEPS = 3


def sing(device) -> None:
    """Record a leak of ``CANARY_BYTES`` per step on ``device`` and compare what the trace says.

    Raises ``Tampered`` if slope, sampled bytes or allocation count are off by anything at all.
    """
    import torch

    from autograder.trace import default_device, record

    if default_device() != device:
        raise Tampered("tampered", actual=f"recordings watch {default_device()} instead of {device}")
    kept = []
    trace = record(
        lambda: kept.append(torch.empty(CANARY_BYTES, dtype=torch.uint8, device=device)), steps=_STEPS, warmup=1
    )
    grown = [after - before for before, after in zip(trace.allocated, trace.allocated[1:])]
    if trace.slope != CANARY_BYTES or any(step != CANARY_BYTES for step in grown) or set(trace.allocations) != {1}:
        raise Tampered(
            "tampered",
            limit=f"a test leak of {human(CANARY_BYTES)} per step must be seen",
            actual=f"the recorder saw {human(float(trace.slope))} per step",
        )
