"""Which of CUDA's attention kernels takes a call: the rules of select_sdp_backend.

Source: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp and ATen/native/transformers/sdp_utils_cpp.h (the latter
ships in torch's include folder), read for a device of compute capability 8.0, as torch.simgpu reports it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from autograder.simgpu import compat

MATH, FLASH, EFFICIENT, CUDNN = 0, 1, 2, 3  # at::SDPBackend
_HALVES = (torch.float16, torch.bfloat16)
_WIDEST_FLASH = 256  # check_head_dim_size_flash
_WIDEST_CUDNN = 128  # check_cudnn_tensor_shapes, before compute capability 9.0
_NO_KERNEL = "No available kernel. Aborting execution."


class Call(NamedTuple):
    """What the rules look at (sdp_params)."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    dropout: float
    is_causal: bool
    grouped: bool


def choose(call: Call) -> int:
    """MATH, FLASH, EFFICIENT or CUDNN: the first in torch's order of preference that is allowed and takes the call.

    Raises RuntimeError with CUDA's words when the user allowed none that does.
    """
    rules = {MATH: _math, FLASH: _flash, EFFICIENT: _efficient, CUDNN: _cudnn}
    for backend in compat.attention_order():
        if backend in rules and rules[backend](call):
            return backend
    raise RuntimeError(_NO_KERNEL)


def _math(call) -> bool:
    return torch.backends.cuda.math_sdp_enabled()


def _flash(call) -> bool:
    """can_use_flash_attention: half precision, no mask, equal widths up to 256."""
    return (
        torch.backends.cuda.flash_sdp_enabled()
        and _is_dense(call)
        and call.mask is None
        and _width(call) <= _WIDEST_FLASH
        and _have_one_type(call, _HALVES)
        and not (call.is_causal and call.query.shape[-2] != call.key.shape[-2])
        and _heads_fit(call, may_be_grouped=True)
        and _last_strides_are_one(call, ignoring_single=True)
    )


def _efficient(call) -> bool:
    """can_use_mem_efficient_attention: also float32 and masks; widths divisible by 4 (float32) or 8 (halves)."""
    step = 16 // call.query.element_size()  # minimum_gemm_alignment: 128 bits
    widths = (call.query.shape[-1], call.value.shape[-1])
    tensors = (call.query, call.key, call.value)
    return (
        torch.backends.cuda.mem_efficient_sdp_enabled()
        and _is_dense(call)
        and call.query.shape[-1] == call.key.shape[-1]
        and all(width and width % step == 0 for width in widths)
        and all(tensor.storage_offset() % step == 0 for tensor in tensors)
        and _have_one_type(call, (*_HALVES, torch.float32))
        and _heads_fit(call, may_be_grouped=False)
        and _last_strides_are_one(call, ignoring_single=False)
        and not (call.is_causal and call.mask is not None)
    )


def _cudnn(call) -> bool:
    """can_use_cudnn_attention: below compute capability 9.0 torch tries it last, so only on request."""
    return (
        torch.backends.cuda.cudnn_sdp_enabled()
        and _is_dense(call)
        and max(call.query.shape[-1], call.value.shape[-1]) <= _WIDEST_CUDNN
        and call.query.shape[-1] % 8 == call.value.shape[-1] % 8 == 0
        and _have_one_type(call, _HALVES)
        and (call.mask is None or not call.mask.requires_grad)
        and call.key.shape[-2] != 1
        and (call.dropout * 16).is_integer()
        and _heads_fit(call, may_be_grouped=True)
        and _last_strides_are_one(call, ignoring_single=True)
    )


def _is_dense(call) -> bool:
    """Four dimensions each (check_tensor_shapes), nothing nested, no empty sequence."""
    tensors = (call.query, call.key, call.value)
    return all(not t.is_nested and t.dim() == 4 and t.numel() for t in tensors)


def _width(call) -> int:
    widths = {call.query.shape[-1], call.key.shape[-1], call.value.shape[-1]}
    return widths.pop() if len(widths) == 1 else _WIDEST_FLASH + 1


def _have_one_type(call, allowed) -> bool:
    return call.query.dtype in allowed and call.query.dtype == call.key.dtype == call.value.dtype


def _heads_fit(call, may_be_grouped: bool) -> bool:
    """check_batch_size_and_num_heads_dense."""
    if not call.query.shape[0] == call.key.shape[0] == call.value.shape[0]:
        return False
    heads, of_key, of_value = call.query.shape[1], call.key.shape[1], call.value.shape[1]
    if call.grouped and may_be_grouped:
        return of_key == of_value and heads % of_key == 0
    return heads == of_key == of_value


def _last_strides_are_one(call, ignoring_single: bool) -> bool:
    """check_last_dim_stride_equals_1_dense."""
    fits = all(t.stride(-1) == 1 for t in (call.query, call.key, call.value))
    if ignoring_single:
        fits = fits or call.query.shape[-1] == 1
    return fits and (call.mask is None or call.mask.stride(-1) == 1)
