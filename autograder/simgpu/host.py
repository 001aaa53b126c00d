"""Pinned host memory: a copy whose storage is marked. Nothing is locked; only the mark is modelled."""

from __future__ import annotations

import torch

from autograder.simgpu import compat
from autograder.simgpu.registry import kernel


@kernel("_pin_memory", keys=("CPU",))
def pin_memory(self, device=None):
    """tensor.pin_memory()."""
    pinned = torch.empty_like(self)
    pinned.copy_(self)
    pinned.untyped_storage()._simgpu_pinned = True
    return pinned


@kernel("is_pinned", keys=("CPU",))
def is_pinned(self, device=None):
    """tensor.is_pinned() of a CPU tensor."""
    return getattr(self.untyped_storage(), "_simgpu_pinned", False)


@kernel("is_pinned", keys=(compat.KERNEL_KEY,))
def is_device_tensor_pinned(self, device=None):
    """tensor.is_pinned() of a device tensor."""
    return False
