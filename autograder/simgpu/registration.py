"""Registering the device, in the one order that works."""

from __future__ import annotations

import os
import sys

import torch

from autograder.errors import SimGpuUnavailable
from autograder.simgpu import compat


def register() -> None:
    """Register name, guard, kernels and patches. Raises SimGpuUnavailable."""
    compat.require()
    from autograder.simgpu import device_module, guard
    from autograder.simgpu.ledger import LEDGER

    compat.register_device(device_module, guard.DeviceGuard())
    from autograder.simgpu import bindings, patches  # these need the device's name

    sys.modules[f"torch.{compat.NAME}.memory"] = device_module.memory
    bindings.install()
    patches.install()
    patches.patch_accelerator(device_module)
    os.register_at_fork(after_in_child=LEDGER.after_fork)
    _try_backward()
    LEDGER.begin()


def _try_backward() -> None:
    """Autograd starts one thread per device at its first backward: a device registered later has none."""
    leaf = torch.ones((), device=compat.NAME, requires_grad=True)
    try:
        (leaf * 1).backward()
    except RuntimeError as error:
        if "device_ready_queues_" not in str(error):
            raise
        raise SimGpuUnavailable(
            "a backward() ran in this process before the simulated GPU was set up, and autograd cannot learn of a new "
            "device after that. Restart the kernel and run the set-up cell first."
        ) from None
