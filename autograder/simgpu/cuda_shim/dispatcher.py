"""The dispatcher's CUDA keys, served by the simulated GPU: no tensor carries one of them, so only factories reach them.

A factory's layout and type choose among the keys (computeDispatchKey in c10/core/TensorOptions.h).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import all_to_simgpu

_KEYS = ("CUDA", "SparseCUDA", "SparseCsrCUDA", "QuantizedCUDA", "NestedTensorCUDA")


@contextmanager
def cuda_key_served() -> Iterator[None]:
    """Register the fallback, and the same over CUDA's own factories where PyTorch was built with them (on a machine
    without a GPU they would look for a driver); unregister all at the end."""
    fallbacks, factories = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    for key in _KEYS:
        fallbacks.fallback(_on_simgpu, key)
    zeros = compat.overload("zeros")  # its composite would make a compressed tensor of CUDA's in C++
    factories.impl("zeros", functools.partial(_on_simgpu, zeros), "SparseCsrCUDA")
    with compat.replacing_kernels_of_torch():
        for key in _KEYS:
            for name in sorted(compat.names_of_kernels(key)):
                operator = compat.overload(name)
                if _takes_device(operator):
                    factories.impl(name, functools.partial(_on_simgpu, operator), key)
    try:
        yield
    finally:
        fallbacks._destroy()
        factories._destroy()


def _takes_device(operator) -> bool:
    return any(argument.name == "device" for argument in operator._schema.arguments)


def _on_simgpu(operator, *args, **kwargs):
    args, kwargs = all_to_simgpu(args, kwargs)
    return operator(*args, **kwargs)
