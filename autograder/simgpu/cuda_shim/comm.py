"""What torch.cuda.comm asks of torch._C and DataParallel does not: broadcast, and scatter and gather into tensors given.

Checks and their words are those of torch/csrc/cuda/comm.cpp (torch 2.13); shapes that do not fit are told apart as there.
"""

from __future__ import annotations

import torch

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
    _check(
        list(out_tensor.shape) == expected,
        f"Expected out tensor to have shape {expected}, but got {list(out_tensor.shape)}",
    )
    for tensor, part in zip(tensors, out_tensor.split([tensor.shape[dim] for tensor in tensors], dim)):
        part.copy_(tensor)
    return out_tensor


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
