"""One meter per kind of device, behind one protocol."""

from __future__ import annotations

import torch

from autograder.errors import RecordError
from autograder.trace.meters.base import LedgerMeter, Meter, Survivor, Tag
from autograder.trace.meters.cpu import CpuMeter
from autograder.trace.meters.cuda import CudaMeter
from autograder.trace.meters.simgpu import SimGpuMeter

_METERS = {meter.source: meter for meter in (CudaMeter, SimGpuMeter, CpuMeter)}


def meter_for(device: torch.device, recording: int) -> LedgerMeter:
    """Return the meter of a device, for the recording of that number.

    Raises RecordError for a device whose memory nobody here can count.
    """
    if device.type not in _METERS:
        raise RecordError(
            f"cannot count the memory of device {str(device)!r}: expected cuda, simgpu or cpu. "
            "Pass record(..., device=ag.setup(lesson))"
        )
    return _METERS[device.type](device, recording)


__all__ = ["LedgerMeter", "Meter", "Survivor", "Tag", "meter_for"]
