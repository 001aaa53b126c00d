"""Errors in CUDA's own words, so that a message looked up on the web leads to the right page."""

from __future__ import annotations

import torch

from autograder.simgpu.devices import DEVICES, OURS


def device_mismatch(plan, args, kwargs) -> RuntimeError:
    """Operands on different devices: the wording of TensorIterator for pointwise operators, else of the wrapper."""
    named = list(_named_tensors(plan, args, kwargs))
    first = named[0][1].device
    for name, tensor in named:
        if tensor.device != first and tensor.dim():
            if plan.pointwise:
                break
            return RuntimeError(
                f"Expected all tensors to be on the same device, but got {name} is on {tensor.device}, different from "
                f"other tensors on {first} (when checking argument in method wrapper_CUDA_{plan.short})"
            )
    others = [tensor.device for _, tensor in named if tensor.device != first]
    return RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{first} and {others[0] if others else 'cpu'}!"
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
