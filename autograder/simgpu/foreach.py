"""Foreach operators over tensors of several devices: the wrappers of CUDA's kernels check no devices (``device_check: NoCheck``
in native_functions.yaml), and can_use_fast_route (ATen/native/ForeachUtils.h) sends mixed lists to the slow way, which
calls the operator for one tensor after the other."""

from __future__ import annotations

import torch

from autograder.simgpu import compat
from autograder.simgpu.devices import OURS, said


def are_mixed(args: tuple) -> bool:
    """Are the tensors of the lists on more than one device?"""
    return (
        len({tensor.device for tensors in args if isinstance(tensors, (list, tuple)) for tensor in _tensors(tensors)})
        > 1
    )


def _tensors(items):
    return [item for item in items if isinstance(item, torch.Tensor)]


def one_by_one(plan, args: tuple, kwargs: dict):
    """The slow way. Raises RuntimeError where the operator for one tensor does."""
    return compat.slow_way(plan.op)(*args, **kwargs)


def check_added_number(plan, args: tuple) -> None:
    """Raise RuntimeError for a number on the CPU that _foreach_add should take from the device: where mul and div read it,
    add does not (foreach_binary_op in ATen/native/cuda/ForeachBinaryOpScalarTensor.cu)."""
    if plan.name not in ("_foreach_add.Tensor", "_foreach_add_.Tensor"):
        return
    tensors, number = args[:2]
    if number.is_cpu and _fast(tensors, number):
        device = next(iter(tensors)).device
        expected = "is expected" if plan.short.endswith("_") else "expected"
        raise RuntimeError(f"scalar tensor {expected} to be on {said(device)} but is on {number.device}")


def _fast(tensors, number) -> bool:
    """can_use_fast_route: one device, one type (the number's as well), strided, dense and without overlap."""
    first = tensors[0]
    return all(
        tensor.device.type in OURS
        and tensor.dtype == first.dtype == number.dtype
        and tensor.layout is torch.strided
        and torch.ops.aten.is_non_overlapping_and_dense(tensor)
        for tensor in tensors
    )
