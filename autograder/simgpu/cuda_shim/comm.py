"""What torch.cuda.comm asks of torch._C: broadcast, scatter and gather, also into tensors that are given.

Checks and their words are those of torch/csrc/cuda/comm.cpp (torch 2.13); shapes that do not fit are told apart as there.
"""

from __future__ import annotations

import torch
import torch._prims_common

from autograder.simgpu import compat
from autograder.simgpu.storage import on_device


def broadcast(tensor: torch.Tensor, devices) -> list[torch.Tensor]:
    """The tensor on each device; itself where it is already."""
    for index in devices:
        _check(index >= 0, f"Expected non-negative device index, but got {index}")
    return [tensor.to(torch.device(compat.NAME, index)) for index in devices]


def broadcast_out(tensor: torch.Tensor, out_tensors) -> list[torch.Tensor]:
    """The tensor copied into each of those given."""
    for position, out in enumerate(out_tensors):
        _check_on_device(out, position, "output")
        _check(
            out.shape == tensor.shape,
            f"Expected all output tensors to have same shape as the source tensor {list(tensor.shape)}, but output "
            f"tensor at index {position} has shape {list(out.shape)}",
        )
        out.copy_(tensor)
    return list(out_tensors)


def scatter(tensor: torch.Tensor, devices, chunk_sizes=None, dim: int = 0, streams=None) -> tuple[torch.Tensor, ...]:
    """The tensor's parts along a dimension, equal ones or of the sizes given, one on each device."""
    _check(len(devices) > 0, "Expected at least one device to scatter to")
    _check(
        chunk_sizes is None or len(chunk_sizes) == len(devices),
        "Expected devices and chunk_sizes to be of same length, but got len(devices) = "
        f"{len(devices)} and len(chunk_sizes) = {len(chunk_sizes or ())}",
    )
    for position, (index, stream) in enumerate(zip(devices, streams or ())):
        _check(
            stream is None or stream.device_index == index,
            f"Expected the device associated with the stream at index {position} (was "
            f"{getattr(stream, 'device_index', None)}) to match the device supplied at that index (expected {index})",
        )
    dim = _wrapped(dim, tensor)
    parts = tensor.split(list(chunk_sizes), dim) if chunk_sizes is not None else tensor.chunk(len(devices), dim)
    for index in devices:
        _check(index >= 0, f"Expected non-negative device index, but got {index}")
    return tuple(part.to(torch.device(compat.NAME, index)) for part, index in zip(parts, devices))


def gather(tensors, dim: int = 0, destination: int | None = None) -> torch.Tensor:
    """The tensors, one after the other along a dimension, on a device, the current one, or the host (-1)."""
    expected = _gathered_shape(tensors, dim)
    index = torch.simgpu.current_device() if destination is None else destination
    target = torch.device("cpu") if index == -1 else torch.device(compat.NAME, index)
    layout = torch._prims_common.suggest_memory_format(tensors[0])
    out = torch.empty(expected, dtype=tensors[0].dtype, device=target, memory_format=layout)
    return gather_out(tensors, out, dim)


def scatter_out(tensor: torch.Tensor, out_tensors, dim: int = 0, streams=None) -> tuple[torch.Tensor, ...]:
    """The tensor's parts along a dimension, copied into the tensors given."""
    _check(len(out_tensors) > 0, "Expected at least one output tensor to scatter to")
    dim = _wrapped(dim, tensor)
    for position, out in enumerate(out_tensors):
        _check_on_device(out, position, "output")
        _check(
            out.dim() == tensor.dim() and _without(out.shape, dim) == _without(tensor.shape, dim),
            f"Output tensor at index {position} has incorrect shape: {list(out.shape)}. Expected same shape except for "
            f"scatter dim {dim} as the source tensor: {list(tensor.shape)}",
        )
    sizes = [out.shape[dim] for out in out_tensors]
    _check(
        sum(sizes) == tensor.shape[dim],
        f"Total size for output tensors along scatter dim {dim} does not match the source tensor size at dim {dim}. "
        f"Expected {tensor.shape[dim]}, but got total size {sum(sizes)}",
    )
    for part, out in zip(tensor.split(sizes, dim), out_tensors):
        out.copy_(part)
    return tuple(out_tensors)


def gather_out(tensors, out_tensor: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """The tensors, one after the other along a dimension, copied into the one given."""
    expected = _gathered_shape(tensors, dim)
    _check(
        list(out_tensor.shape) == expected,
        f"Expected out tensor to have shape {expected}, but got {list(out_tensor.shape)}",
    )
    dim = _wrapped(dim, tensors[0])
    for tensor, part in zip(tensors, out_tensor.split([tensor.shape[dim] for tensor in tensors], dim)):
        part.copy_(tensor)
    return out_tensor


def _gathered_shape(tensors, dim: int) -> list[int]:
    _check(len(tensors) > 0, "Expected at least one tensor to gather from")
    first = tensors[0]
    dim = _wrapped(dim, first)
    expected = list(first.shape)
    for position, tensor in enumerate(tensors):
        _check_on_device(tensor, position, "input")
        _check(
            tensor.dim() == first.dim(),
            f"Expected all input tensors to have the same number of dimensions, but tensor at index {position}has "
            f"{tensor.dim()} dimensions, (expected {first.dim()})",
        )
        expected[dim] = tensor.shape[dim]
        _check(
            list(tensor.shape) == expected,
            f"Input tensor at index {position} has invalid shape {list(tensor.shape)}, but expected {expected}",
        )
    expected[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return expected


def _check_on_device(tensor: torch.Tensor, position: int, what: str) -> None:
    where = "output tensor" if what == "output" else "tensor"
    _check(
        on_device(tensor),
        f"Expected all {what} tensors to be CUDA tensors, but {where} at index {position} has device '{tensor.device}'",
    )


def _wrapped(dim: int, tensor: torch.Tensor) -> int:
    return dim + tensor.dim() if dim < 0 else dim


def _without(shape, dim: int) -> list[int]:
    return [length for position, length in enumerate(shape) if position != dim]


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RuntimeError(message)
