"""One device under two names: what a script calls ``cuda:0`` is ``simgpu:0`` to torch's C++ and to this package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.simgpu import compat
from autograder.simgpu.devices import DEVICES, MOST_DEVICES, OURS

_PACKAGE = "autograder."
_raw_device = torch._C.TensorBase.device.__get__
_raw_is_cuda = torch._C.TensorBase.is_cuda.__get__
_SHOWN = {torch.device(compat.NAME, index): torch.device("cuda", index) for index in range(MOST_DEVICES)}


@contextmanager
def cuda_means_ours() -> Iterator[None]:
    """Let the rest of the simulated GPU understand "cuda" where it is given a device."""
    OURS.add("cuda")
    try:
        yield
    finally:
        OURS.discard("cuda")


def to_simgpu(thing):
    """The simulated device for whatever names a CUDA device ("cuda", "cuda:1", torch.device); the rest unchanged.

    A device without an index means the current one, as on CUDA.
    """
    if isinstance(thing, str) and thing.startswith("cuda"):
        thing = torch.device(thing)
    if isinstance(thing, torch.device) and thing.type == "cuda":
        return torch.device(compat.NAME, DEVICES.current() if thing.index is None else thing.index)
    return thing


def all_to_simgpu(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Arguments with every CUDA device among them (at the top level) replaced."""
    return tuple(map(to_simgpu, args)), {name: to_simgpu(value) for name, value in kwargs.items()}


def shown(device: torch.device | None) -> torch.device | None:
    """What a script is told of a device: a simulated one calls itself cuda."""
    if device is None or device.type != compat.NAME:
        return device
    return torch.device("cuda") if device.index is None else torch.device("cuda", device.index)


def asked_by_us(depth: int = 2) -> bool:
    """Does this package ask? ``depth`` frames up from here; 2 is the caller of the function that calls this."""
    return str(sys._getframe(depth).f_globals.get("__name__")).startswith(_PACKAGE)


def _device(tensor):
    """Where the tensor is; the simulated GPU calls itself cuda, except to this package."""
    device = _raw_device(tensor)
    cuda = _SHOWN.get(device)
    return device if cuda is None or asked_by_us() else cuda


def _is_cuda(tensor):
    """True on the simulated GPU, except to this package."""
    if _raw_device(tensor) in _SHOWN:
        return not asked_by_us()
    return _raw_is_cuda(tensor)


TENSOR_DEVICE = property(_device)
TENSOR_IS_CUDA = property(_is_cuda)


def shown_device(original) -> property:
    """The ``device`` of a class, be it a property or a descriptor in C++, which names cuda except to this package."""
    read = original.__get__

    def device(owner):
        found = read(owner, type(owner))
        return found if asked_by_us() else shown(found)

    return property(device, getattr(original, "fset", None), getattr(original, "fdel", None), original.__doc__)
