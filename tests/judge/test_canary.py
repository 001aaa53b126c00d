"""The canary: a recorder that lies is caught, and one that does not is left alone."""

from __future__ import annotations

import pytest
import torch

from autograder.errors import Tampered
from autograder.judge import canary
from autograder.trace import devices
from autograder.trace.meters.cpu import keep_counting

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Record plain CPU tensors, whatever other tests chose."""
    monkeypatch.setattr(devices, "_chosen", CPU)
    keep_counting()


def test_an_honest_recorder_passes():
    """Is a leak of known size read as exactly that size?"""
    canary.sing(CPU)


def test_a_recorder_that_reads_nothing_is_caught(monkeypatch):
    """GIVEN counters that always say 0, THEN the canary raises."""
    from autograder.trace.meters.cpu import CpuMeter

    honest = CpuMeter.counters
    monkeypatch.setattr(CpuMeter, "counters", lambda self: honest(self)._replace(allocated=0))
    with pytest.raises(Tampered, match="the recorder saw 0 B per step"):
        canary.sing(CPU)


def test_recording_another_device_is_caught(monkeypatch):
    """GIVEN recordings turned to a device that nothing is allocated on, THEN the canary raises."""
    monkeypatch.setattr(devices, "_chosen", torch.device("meta"))
    with pytest.raises(Tampered, match="recordings watch meta instead of cpu"):
        canary.sing(CPU)
