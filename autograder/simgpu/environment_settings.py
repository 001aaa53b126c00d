"""Allocator settings from the environment, read when the device is first used, as CUDA does.

PyTorch reads PYTORCH_CUDA_ALLOC_CONF, or without it PYTORCH_ALLOC_CONF, when its allocator is made (CUDAAllocatorConfig::instance,
called by DeviceCachingAllocator's constructor): a script may set it in ``os.environ`` after ``import torch``, as long as
nothing is on the device yet. So what was read when the simulated GPU was registered is read again before the first
allocation that follows ``read_again()``, and replaces the settings if it changed meanwhile.
"""

from __future__ import annotations

import os

from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.settings import AllocatorSettings, text_in

_read: list[str] = []


def read() -> AllocatorSettings:
    """The settings that the environment asks for now. Raises AllocatorSettingsError."""
    settings = AllocatorSettings.from_environment()
    _read[:] = [text_in(os.environ)]
    return settings


def read_again() -> None:
    """Have a change of the environment heeded at the next allocation, if nothing is on the device until then."""
    LEDGER.settles = _settle if not any(allocator.reserved for allocator in LEDGER.allocators) else None


def _settle() -> None:
    if text_in(os.environ) not in _read:
        settings = read()
        for allocator in LEDGER.allocators:
            allocator.settings = settings
            if settings.memory_fraction < 1.0:
                allocator.memory_fraction = settings.memory_fraction
    LEDGER.settles = None
