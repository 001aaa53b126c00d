"""torch.distributed on the simulated GPU: gloo works on the host memory behind the device tensors, without a copy.

A process group that can reduce CPU tensors (``gloo``) thereby serves device tensors, as ``nccl`` serves CUDA's. Each
process has a simulated GPU of its own, so ``torch.simgpu.memory_allocated()`` is the memory of its rank.

What a collective itself needs on the device is modelled where PyTorch allocates it: lists of tensors pass through one
flat tensor (``newLikeFlat`` in torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp). NCCL's own buffers are outside
PyTorch's allocator, on CUDA too, and are not modelled.
"""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import compat
from autograder.simgpu.storage import on_device, unwrap

OPERATORS = (
    "_allgather_base_", "_reduce_scatter_base_", "allgather_", "allgather_coalesced_",
    "allgather_into_tensor_coalesced_", "allreduce_", "allreduce_coalesced_", "alltoall_", "alltoall_base_", "barrier",
    "broadcast_", "gather_", "recv_", "recv_any_source_", "reduce_", "reduce_scatter_",
    "reduce_scatter_tensor_coalesced_", "scatter_", "send",
)  # fmt: skip
"""Collectives that have a CPU kernel; all of them write into their arguments."""
_THROUGH_FLAT_TENSOR = {"allgather_": 0, "reduce_scatter_": 1}
"""Of these, which argument is a list of lists that NCCL flattens."""
_KEPT_FOR_LIFE = []


def install() -> None:
    """Register them, where this torch was built with torch.distributed. Once per process."""
    if not torch.distributed.is_available():
        return
    library = torch.library.Library("c10d", "IMPL")
    _KEPT_FOR_LIFE.append(library)
    with compat.replacing_kernels_of_torch():
        for name in OPERATORS:
            operator = getattr(torch.ops.c10d, name).default
            library.impl(name, functools.partial(_run, name, operator), compat.KERNEL_KEY, allow_override=True)


def _run(name: str, operator, *args, **kwargs):
    flat = _flat_tensor(args[_THROUGH_FLAT_TENSOR[name]]) if name in _THROUGH_FLAT_TENSOR else None
    result = operator(*map(_on_host, args), **{key: _on_host(value) for key, value in kwargs.items()})
    del flat
    if isinstance(result, tuple):
        return (*args[: len(result) - 1], result[-1])  # the tensors written into are the first arguments, in order
    return result


def _on_host(value):
    """Operands as the CPU tensors over the same memory; top level, as a closure would keep them."""
    if isinstance(value, torch.Tensor):
        return unwrap(value) if on_device(value) else value
    if isinstance(value, (list, tuple)):
        return [_on_host(item) for item in value]
    return value


def _flat_tensor(lists) -> list[torch.Tensor]:
    """One tensor for each list of equal tensors, as NCCL's collectives allocate it for their time."""
    return [
        torch.empty((len(tensors), *tensors[0].shape), dtype=tensors[0].dtype, device=tensors[0].device)
        for tensors in lists
        if tensors and all(tensor.shape == tensors[0].shape for tensor in tensors)
    ]
