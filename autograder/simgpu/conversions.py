"""tensor.to(device): which device is meant, before PyTorch's own code compares it with the tensor's.

PyTorch completes a device without an index by asking the device's guard, which knows device 0 only where it is written in
Python, and it takes ``cuda:0`` for another device than ``simgpu:0``. So the operators behind ``Tensor.to``, ``Tensor.cuda``,
``torch.tensor(..., device=...)`` and their kin are given the device that is meant, and go on as PyTorch's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.simgpu import compat
from autograder.simgpu.devices import DEVICES, OURS

_OF_DEVICE = (compat.AUTOGRAD_KEY, compat.KERNEL_KEY, *compat.SPARSE_KEYS)
_OF_HOST = ("AutogradCPU", "CPU", "SparseCPU", "SparseCsrCPU")
_kept_for_life: list[torch.library.Library] = []


def serve_unindexed_devices() -> None:
    """From now on let a device without an index mean the current one; needed once there are several. Done once."""
    if not _kept_for_life:
        _kept_for_life.append(_registered(_OF_DEVICE + _OF_HOST))


@contextmanager
def serving_other_names() -> Iterator[None]:
    """Let device tensors know their device by every name in ``OURS``, until the block ends."""
    library = None if _kept_for_life else _registered(_OF_DEVICE)
    try:
        yield
    finally:
        if library is not None:
            library._destroy()


def meant(device: torch.device | None) -> torch.device | None:
    """The simulated device that a device argument means; any other device unchanged."""
    if device is None or device.type not in OURS or (device.type == compat.NAME and device.index is not None):
        return device
    return torch.device(compat.NAME, DEVICES.resolve(device))


def _registered(keys: tuple[str, ...]) -> torch.library.Library:
    library = torch.library.Library("aten", "IMPL")
    for name, kernel in (("to.device", _to_device), ("to.dtype_layout", _to_layout)):
        bound = functools.partial(kernel, compat.composite(compat.overload(name)))
        for key in keys:
            library.impl(name, bound, key)
    return library


def _to_device(original, self, device, *args, **kwargs):
    return original(self, meant(device), *args, **kwargs)


def _to_layout(original, self, *, device=None, **kwargs):
    return original(self, device=meant(device), **kwargs)
