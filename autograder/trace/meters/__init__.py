"""One meter per kind of device, behind one protocol."""

from __future__ import annotations

import torch

from autograder.errors import RecordError
from autograder.trace.meters.base import LedgerMeter, Meter, Survivor, Tag


def meter_for(device: torch.device, recording: int) -> LedgerMeter:
    """Return the meter of a device, for the recording of that number.

    Raises RecordError for a device whose memory nobody here can count.
    """
    if device.type == "cuda":
        from autograder.trace.meters.cuda import CudaMeter as kind
    elif device.type == "simgpu":
        from autograder.trace.meters.simgpu import SimGpuMeter as kind
    elif device.type == "cpu":
        from autograder.trace.meters.cpu import CpuMeter as kind
    else:
        raise RecordError(
            f"cannot count the memory of device {str(device)!r}: expected cuda, simgpu or cpu. "
            "Pass record(..., device=ag.setup(lesson))"
        )
    return kind(device, recording)


__all__ = ["LedgerMeter", "Meter", "Survivor", "Tag", "meter_for"]
