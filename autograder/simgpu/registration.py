"""Registering the device, in the one order that works."""

from __future__ import annotations

import os
import sys

from autograder.simgpu import compat


def register(devices: int | None = None) -> None:
    """Register name, guard, kernels and patches. Raises SimGpuUnavailable, AllocatorSettingsError."""
    compat.require()
    from autograder.simgpu import device_module, environment_settings, guard

    settings = environment_settings.read()
    from autograder.simgpu.devices import wanted_count
    from autograder.simgpu.ledger import LEDGER

    count = wanted_count(devices)

    compat.register_device(device_module, guard.DeviceGuard())
    from autograder.simgpu import bindings, patches, sharing  # these need the device's name

    sys.modules[f"torch.{compat.NAME}.memory"] = device_module.memory
    bindings.install()
    sharing.install()
    patches.install()
    patches.patch_accelerator(device_module)
    os.register_at_fork(after_in_child=LEDGER.after_fork)
    LEDGER.configure(settings)
    set_device_count(count)


def set_device_count(count: int) -> None:
    """Simulate this many devices from now on. Raises SimGpuUnavailable if one that would go is in use."""
    from autograder.simgpu import conversions
    from autograder.simgpu.devices import DEVICES, wanted_count
    from autograder.simgpu.ledger import LEDGER

    LEDGER.set_device_count(wanted_count(count))
    DEVICES.set_count(count)
    if DEVICES.several:
        conversions.serve_unindexed_devices()
