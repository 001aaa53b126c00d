"""Types that CUDA's kernels have and the CPU's lack: computed in a wider one, and cast back.

Source: the dtypesIfCUDA of torch.testing's op_db, 2.13. Operators that draw random numbers or write in place are left out.
"""

from __future__ import annotations

import torch

_HALVES = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
_INTEGERS = dict.fromkeys((torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64), torch.float64)
#: Operator: the wider type for each that the CPU lacks.
WIDENED = {
    "avg_pool3d": _HALVES,
    "avg_pool3d_backward": _HALVES,
    "_upsample_bilinear2d_aa": _HALVES,
    "_upsample_bilinear2d_aa_backward": _HALVES,
    "_upsample_bicubic2d_aa": _HALVES,
    "_upsample_bicubic2d_aa_backward": _HALVES,
    "multi_margin_loss": _HALVES,
    "multi_margin_loss_backward": _HALVES,
    "multilabel_margin_loss_forward": _HALVES,
    "multilabel_margin_loss_backward": _HALVES,
    "round": _HALVES,
    "polygamma": _HALVES,
    "histc": _INTEGERS,
}


def can(plan, args) -> bool:
    """Does CUDA have a kernel for a type that the CPU lacks here?"""
    wider = WIDENED.get(plan.short, {})
    return not plan.writes and any(isinstance(value, torch.Tensor) and value.dtype in wider for value in args)


def call(plan, args, kwargs):
    """Run an operator over wider copies of its host operands."""
    wider = WIDENED[plan.short]
    narrow = next(value.dtype for value in args if isinstance(value, torch.Tensor) and value.dtype in wider)
    result = plan.call(*(_cast(value, wider) for value in args), **{k: _cast(v, wider) for k, v in kwargs.items()})
    back = {wider[narrow]: narrow}
    return tuple(_cast(item, back) for item in result) if isinstance(result, tuple) else _cast(result, back)


def _cast(value, kinds):
    if isinstance(value, torch.Tensor) and value.dtype in kinds:
        return value.to(kinds[value.dtype])
    return value
