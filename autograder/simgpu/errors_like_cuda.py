"""Errors in CUDA's own words, so that a message looked up on the web leads to the right page."""

from __future__ import annotations

import torch

from autograder.simgpu import compat, foreach
from autograder.simgpu.devices import DEVICES, OURS, said

_TYPE_NAMES = {torch.float16: "Half", torch.bfloat16: "BFloat16", torch.float32: "Float", torch.float64: "Double"}


def check_mixed(plan, args, kwargs, on_host) -> None:
    """Refuse what CUDA refuses of operands on the CPU beside others on the device.

    An operator whose CUDA wrapper checks devices takes none; TensorIterator takes those of no dimensions; a few take more
    (schema.Plan.mixed). Raises RuntimeError.
    """
    if plan.puts:
        _check_put(plan, args, kwargs)
    elif plan.indexing:
        _check_indices(args)
    elif plan.short.rstrip("_") == "addcmul":
        _check_addcmul(plan, args, kwargs)
    elif plan.foreach and not any(tensor.dim() for tensor in on_host):
        foreach.check_added_number(plan, args)
    elif plan.scalars_on_host:
        _check_lists(plan, args, kwargs)
    elif plan.checked or not plan.mixed and any(tensor.dim() for tensor in on_host):
        raise device_mismatch(plan, args, kwargs)


def _check_indices(args):
    if args[0].is_cpu:
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")


def _check_put(plan, args, kwargs):
    """_index_put_impl_ in TensorAdvancedIndexing.cpp: a value of one element fills a mask, one of no dimensions is copied."""
    _check_indices(args)
    target, indices, value, *rest = args
    if not value.is_cpu or not value.dim():
        return
    accumulate = bool(rest and rest[0]) or kwargs.get("accumulate", False)
    given = [index for index in indices if index is not None]
    is_one_mask = len(given) == 1 and given[0].dtype in (torch.bool, torch.uint8) and not given[0].is_cpu
    if value.numel() == 1 and is_one_mask and not accumulate:
        return
    if accumulate or torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(
            f"expected device {said(target.device)} but got device {said(value.device)} for value tensor"
        )
    raise _found_two(target.device, value.device)


def _check_addcmul(plan, args, kwargs):
    """addcmul_cuda_kernel in PointwiseOpsKernel.cu: of three operands the last alone may be a number on the CPU."""
    named = list(_named_tensors(plan, args, kwargs))
    if any(tensor.is_cpu and tensor.dim() for _, tensor in named):
        raise device_mismatch(plan, args, kwargs)
    for name, tensor in named:
        if tensor.is_cpu and name in ("self", "tensor1"):
            swap = "However, CPU Scalar support for tensor2 is supported, please swap your tensor1 and tensor2 terms."
            raise RuntimeError(
                f"CPU Scalar support for {name} argument is not supported when calling addcmul on CUDA tensors."
                + (f" {swap}" if name == "tensor1" else "")
            )


def _check_lists(plan, args, kwargs):
    lists = [tensor for tensors in args[:3] for tensor in tensors]
    if any(tensor.is_cpu and tensor.dim() for tensor in lists):
        raise device_mismatch(plan, args, kwargs)


def check_scalars(args, kwargs) -> None:
    """The packed scalars of a foreach operator are read by the host (convert_tensor_to_scalar_list). RuntimeError."""
    scalars = args[3] if len(args) > 3 else kwargs["scalars"]
    if not scalars.is_cpu:
        raise RuntimeError(f"Expected scalars to be on CPU, got {said(scalars.device)} instead.")


def device_mismatch(plan, args, kwargs) -> RuntimeError:
    """Operands on different devices: the wording of the wrapper where it checks, else of TensorIterator."""
    operands = list(_named_tensors(plan, args, kwargs))
    first = operands[0][1].device
    if plan.checked or not plan.pointwise:
        for name, tensor in operands:
            if tensor.device != first and (plan.checked or tensor.dim()):
                return _different(plan.short, name, tensor.device, first)
    others = [tensor.device for _, tensor in operands if tensor.device != first]
    return _found_two(first, others[0] if others else torch.device("cpu"))


def check_one_device(operator: str, **operands) -> None:
    """What the CUDA wrapper of an operator checks, for kernels of ours. Raises RuntimeError."""
    given = {name: tensor for name, tensor in operands.items() if tensor is not None}
    first = next(iter(given.values())).device
    for name, tensor in given.items():
        if tensor.device != first:
            raise _different(operator, name, tensor.device, first)


def _different(operator, name, device, first) -> RuntimeError:
    return RuntimeError(
        f"Expected all tensors to be on the same device, but got {name} is on {said(device)}, different from other tensors "
        f"on {said(first)} (when checking argument in method wrapper_CUDA_{operator})"
    )


def _found_two(first, second) -> RuntimeError:
    return RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {said(first)} and "
        f"{said(second)}!"
    )


def _named_tensors(plan, args, kwargs):
    names = [argument.name for argument in plan.op._schema.arguments]
    for name, value in [*zip(names, args), *(kwargs or {}).items()]:
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, torch.Tensor):
                yield name, item


def check_ordinal(device) -> None:
    """An index that no device has is CUDA's "invalid device ordinal"."""
    if device is not None and device.type in OURS and device.index:
        DEVICES.check(device.index)


def type_in_cuda(tensor) -> str:
    """``tensor.type()`` as it reads on CUDA, such as torch.cuda.FloatTensor."""
    return tensor.type().replace(f"torch.{compat.NAME}.", "torch.cuda.")


def found_type(expected: torch.dtype, found: torch.dtype) -> RuntimeError:
    """A kernel's data_ptr<T>() of a tensor of another type (Tensor::data_ptr in ATen/templates/TensorMethods.cpp)."""
    names = (_TYPE_NAMES.get(dtype, str(dtype).removeprefix("torch.")) for dtype in (expected, found))
    return RuntimeError("expected scalar type {} but found {}".format(*names))
