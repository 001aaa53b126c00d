"""The simulated GPU: a torch device named ``simgpu`` whose memory is kept by a model of CUDA's caching allocator.

Importing this registers nothing; ``enable()`` does, once per process.
"""

from __future__ import annotations

import threading

from autograder.simgpu import interrupts

_lock = threading.Lock()
_enabled = False


def is_enabled() -> bool:
    """Has ``enable()`` registered the device in this process?"""
    return _enabled


def enable(capacity: int | None = None, device_asserts: bool | None = None, devices: int | None = None):
    """Register the device and install ``torch.simgpu``; return ``torch.device("simgpu", 0)``.

    In the main thread Ctrl-C is from then on put off where it would cut the device's bookkeeping in half
    (``autograder.simgpu.interrupts``), unless the program handles it itself.

    Parameters
    ----------
    capacity : int, optional
        Size of each device in bytes (2 GiB at first). A later call with a capacity changes it.
    device_asserts : bool, optional
        Whether an index out of range fails as on CUDA: late, and for good (``torch.simgpu.device_side_asserts`` says
        how). At first it raises at once, as on the CPU.
    devices : int, optional
        How many devices there are, ``simgpu:0`` and so on; at first what the environment variable
        AUTOGRADER_SIMGPU_DEVICES says, or 1. A later call with a number changes it.

    The first call reads the allocator settings of PYTORCH_CUDA_ALLOC_CONF or PYTORCH_ALLOC_CONF. ``autograder run`` heeds a
    script that sets them before its first tensor on the device.

    Raises
    ------
    SimGpuUnavailable
        If this torch lacks a hook, or the number of devices is none or takes away one in use.
    AllocatorSettingsError
        If the environment asks the allocator for something PyTorch refuses or the simulated GPU does not model.
    """
    global _enabled
    import torch

    with _lock:
        if not _enabled:
            from autograder.simgpu import registration

            registration.register(devices)
            _enabled = True
        elif devices is not None:
            from autograder.simgpu import registration

            registration.set_device_count(devices)
    interrupts.install()
    if capacity is not None:
        torch.simgpu.set_capacity(capacity)
    if device_asserts is not None:
        torch.simgpu.set_device_side_asserts(device_asserts)
    return torch.device("simgpu", 0)
