"""New tensors."""

from __future__ import annotations

import math

import torch

from autograder.simgpu.devices import DEVICES
from autograder.simgpu.dispatch import refuse_if_host_is_full
from autograder.simgpu.errors_like_cuda import check_ordinal
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import CPU, extent, wrap


@kernel("empty.memory_format")
def empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    """torch.empty; the device's capacity is asked before the host is."""
    check_ordinal(device)
    dtype = dtype or torch.get_default_dtype()
    refuse_beyond_capacity(math.prod(size) * dtype.itemsize)
    memory_format = memory_format or torch.contiguous_format
    return _wrapped(torch.empty, size, dtype=dtype, memory_format=memory_format)


@kernel("empty_strided")
def empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    """torch.empty_strided."""
    check_ordinal(device)
    dtype = dtype or torch.get_default_dtype()
    refuse_beyond_capacity(extent(size, stride) * dtype.itemsize)
    return _wrapped(torch.empty_strided, size, stride, dtype=dtype)


@kernel("_efficientzerotensor")
def zero_tensor(size, dtype=None, layout=None, device=None, pin_memory=None):
    """The zeros autograd uses for undefined gradients."""
    return _wrapped(torch.zeros, size, dtype=dtype)


def _wrapped(factory, *args, **kwargs):
    try:
        return wrap(factory(*args, device=CPU, **kwargs))
    except RuntimeError as error:
        refuse_if_host_is_full(error)
        raise


def refuse_beyond_capacity(nbytes: int) -> None:
    """Raise torch.OutOfMemoryError for what could never fit, before the host's memory is touched."""
    index = DEVICES.current()
    if nbytes > LEDGER.allocators[index].capacity:
        LEDGER.allocate(nbytes, index)
