"""What the device does not compute: because CUDA does not either, in its words, or because it is not simulated.

Sources: native_functions.yaml (operators with a CPU kernel only), and for types the dtypesIfCUDA of torch.testing's op_db
with the names in the AT_DISPATCH macros of aten/src/ATen/native/cuda, from which the words are made.
"""

from __future__ import annotations

import torch

from autograder.errors import NotSimulated
from autograder.simgpu import operator_table
from autograder.simgpu.registry import kernel

_INTEGERS = frozenset((torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))
_HALVES = frozenset((torch.float16, torch.bfloat16))
_BYTE = frozenset((torch.uint8,))
_LONG = frozenset((torch.int64,))
_NAMES = {
    torch.uint8: "Byte", torch.int8: "Char", torch.int16: "Short", torch.int32: "Int", torch.int64: "Long",
    torch.float16: "Half", torch.bfloat16: "BFloat16",
}  # fmt: skip
#: Operator: the types that the CPU computes and CUDA refuses, and the name in its complaint.
TYPES = {
    "mm": (_INTEGERS, "addmm_cuda"),
    "addmm": (_INTEGERS, "addmm_cuda"),
    "addbmm": (_INTEGERS, "addmm_cuda"),
    "_addmm_activation": (_INTEGERS, "addmm_cuda"),
    "bmm": (_INTEGERS, "baddbmm_cuda"),
    "baddbmm": (_INTEGERS, "baddbmm_cuda"),
    "mv": (_INTEGERS, "addmv_impl_cuda"),
    "addmv": (_INTEGERS, "addmv_impl_cuda"),
    "dot": (_INTEGERS, "dot"),
    "vdot": (_INTEGERS, "dot"),
    "convolution": (_INTEGERS, "slow_conv2d_cuda"),
    "avg_pool2d": (_LONG, "avg_pool2d_out_cuda_frame"),
    "avg_pool3d": (_LONG, "avg_pool3d_out_frame"),
    "max_pool2d_with_indices": (_INTEGERS, "max_pool2d_with_indices_out_cuda_frame"),
    "max_pool3d_with_indices": (_INTEGERS, "max_pool3d_with_indices_out_frame"),
    "upsample_bilinear2d": (_BYTE, "upsample_bilinear2d_out_frame"),
    "upsample_bicubic2d": (_BYTE, "upsample_bicubic2d_out_frame"),
    "_upsample_bilinear2d_aa": (_BYTE, "upsample_bilinear2d_out_frame"),
    "_upsample_bicubic2d_aa": (_BYTE, "upsample_bicubic2d_out_frame"),
    "igamma": (_HALVES, "igamma_cuda"),
    "igammac": (_HALVES, "igammac_cuda"),
    "histc": (_HALVES, "histc"),
    "native_dropout_backward": (_INTEGERS, "masked_scale"),
}


def of_types(short: str):
    """The rule of an operator such as ``addmm``, or None; what works in place has the same."""
    return TYPES.get(short) or TYPES.get(short.rstrip("_"))


def check_type(rule, pairs) -> None:
    """Raise NotImplementedError, as CUDA does, if the first operand is of a type its kernel does not have."""
    types, name = rule
    if pairs and pairs[0][1].dtype in types:
        raise NotImplementedError(f"\"{name}\" not implemented for '{_NAMES[pairs[0][1].dtype]}'")


def missing(plan, error: NotImplementedError) -> NotImplementedError:
    """What to raise where the CPU has no kernel either."""
    if "Could not run" not in str(error):
        return error
    name = str(plan.op)
    if plan.name in operator_table.with_kernel_for("CUDA"):
        return NotSimulated(
            f"{name} is one of CUDA's own operators that the simulated GPU lacks (docs/simulated_gpu.md)"
        )
    return NotSimulated(f"{name} has no kernel that the simulated GPU could run: {str(error).splitlines()[0][:200]}")


def cpu_only(plan) -> NotImplementedError:
    """An operator that PyTorch has for the CPU only, in the dispatcher's words."""
    return NotImplementedError(
        f"Could not run 'aten::{plan.name}' with arguments from the 'CUDA' backend. This could be because the operator "
        "doesn't exist for this backend, or was omitted during the selective/custom build process (if using custom build). "
        f"'aten::{plan.name}' is only available for these backends: [CPU]."
    )


@kernel(
    "_empty_affine_quantized", "_empty_per_channel_affine_quantized", "_make_per_tensor_quantized_tensor",
    "_make_per_channel_quantized_tensor", "quantize_per_tensor", "quantize_per_tensor.tensor_qparams",
    "quantize_per_tensor.tensors", "quantize_per_tensor_dynamic", "quantize_per_channel",
)  # fmt: skip
def quantize(*args, **kwargs):
    """Raises NotSimulated: a quantized tensor keeps its scale where only a device written in C++ can."""
    raise NotSimulated(
        "quantized tensors are not simulated: quantize on the CPU, or train with torch.fake_quantize_per_tensor_affine, "
        "which works here (docs/simulated_gpu.md)"
    )
