"""C++'s guard for CUDA devices, served by the simulated GPU's.

Where PyTorch was built without CUDA, nobody has signed in as the guard of CUDA devices. Whatever asks for it ends in
"PyTorch is not linked with support for cuda devices", and autograd, which asks where nothing may be thrown, ends the
process: a wrapper subclass or a fake tensor made for ``cuda:0`` is enough. PyTorch's registry of guards
(``device_guard_impl_registry``, c10/core/impl/DeviceGuardImplInterface.h) is a public symbol of its library ``c10``, an
array of pointers indexed by device type. For as long as "cuda" means the simulated GPU, CUDA's place holds the pointer
of ours. Asked for the current CUDA device, it names the simulated one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.errors import SimGpuUnavailable
from autograder.simgpu import compat

_CUDA = int(torch._C._autograd.DeviceType.CUDA)
_LIBRARY = {"win32": "c10.dll", "darwin": "libc10.dylib"}.get(sys.platform, "libc10.so")
_NAME = b"device_guard_impl_registry"
_MOST_AROUND = 200


@contextmanager
def cuda_guard_served() -> Iterator[None]:
    """Let the guard of the simulated GPU stand for CUDA's as well, until the block ends.

    Raises
    ------
    SimGpuUnavailable
        If this PyTorch's library has no such registry.
    """
    guards = _registry()
    before = guards[_CUDA]
    guards[_CUDA] = guards[compat.DEVICE_TYPE]
    try:
        yield
    finally:
        guards[_CUDA] = before


def _registry():
    path = os.path.join(os.path.dirname(torch.__file__), "lib", _LIBRARY)
    try:
        return (ctypes.c_void_p * (compat.DEVICE_TYPE + 1)).in_dll(ctypes.CDLL(path), _symbol(path))
    except (OSError, ValueError) as error:
        raise SimGpuUnavailable(
            f"torch {torch.__version__} does not show its registry of device guards ({_LIBRARY}: {error}), so a script "
            "cannot say cuda for the simulated GPU here. Let it say simgpu (autograder.simgpu.enable()), or use a real GPU."
        ) from None


def _symbol(path: str) -> str:
    """The registry's name as this platform's compiler writes it, found in the library's table of names."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_NAME)
        if at < 0:
            raise ValueError(f"no {_NAME.decode()}")
        before, after = content[max(0, at - _MOST_AROUND) : at], content[at : at + _MOST_AROUND]
    name = before.rpartition(b"\0")[2] + after.partition(b"\0")[0]
    return name.decode()[1:] if sys.platform == "darwin" else name.decode()
