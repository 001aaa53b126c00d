"""torch.autocast("simgpu"): the casting rules of CUDA, written as kernels of the AutocastPrivateUse1 key.

The lists are the AT_FORALL_* lists of aten/src/ATen/autocast_mode.h, torch 2.13.
"""

from __future__ import annotations

import functools
import weakref

import torch

from autograder.simgpu import compat

_LOWER_PRECISION = """
_convolution.deprecated _convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d.input
conv_transpose3d.input convolution prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm
chain_matmul linalg_multi_dot _thnn_fused_lstm_cell _thnn_fused_gru_cell lstm_cell gru_cell rnn_tanh_cell
rnn_relu_cell _scaled_dot_product_flash_attention scaled_dot_product_attention
"""
_FLOAT32 = """
acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar pow.Tensor_Tensor
pow.Scalar softplus layer_norm native_layer_norm rms_norm group_norm frobenius_norm.dim nuclear_norm nuclear_norm.dim
cosine_similarity poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss
smooth_l1_loss huber_loss mse_loss margin_ranking_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss
multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp upsample_nearest1d
_upsample_nearest_exact1d upsample_nearest2d _upsample_nearest_exact2d upsample_nearest3d _upsample_nearest_exact3d
upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa upsample_trilinear3d upsample_bicubic2d
_upsample_bicubic2d_aa
"""
_FLOAT32_RESULT = """
prod prod.dim_int softmax.int log_softmax.int cumprod cumsum linalg_vector_norm linalg_matrix_norm
linalg_matrix_norm.str_ord sum sum.dim_IntList
"""
_WIDEST = "addcdiv addcmul atan2 bilinear cat cross dot vdot grid_sampler index_put stack tensordot scatter_add"
_NORMS = "norm.Scalar norm.ScalarOpt_dim"
_BANNED = "binary_cross_entropy"

_NO_AUTOCAST = compat.AUTOCAST_DEVICE_KEYS
_ExcludeKeys = compat.ExcludeKeys
_casts: dict[int, tuple[weakref.ref, torch.Tensor]] = {}


def install(library, fallbacks) -> None:
    """Register the casting kernels; every other operator falls through."""
    fallbacks.fallback(torch.library.fallthrough_kernel, compat.AUTOCAST_KEY)
    rules = (
        (_LOWER_PRECISION, _in_lower_precision),
        (_FLOAT32, _in_float32),
        (_FLOAT32_RESULT, _with_float32_result),
        (_WIDEST, _in_widest),
        (_NORMS, _norm_in_float32),
        (_BANNED, _refuse),
    )
    for names, rule in rules:
        for name in names.split():
            operator = _operator(name)
            if operator is not None:
                library.impl(name, functools.partial(rule, operator), compat.AUTOCAST_KEY)


def clear_cache() -> None:
    """Forget the casts of weights (torch does it when the outermost autocast ends)."""
    _casts.clear()


def cached_casts() -> int:
    """How many casts of weights are kept now."""
    return len(_casts)


def _operator(name: str):
    packet_name, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, packet_name, None)
    return getattr(packet, overload or "default", None)


def _is_eligible(value) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.device.type == compat.NAME
        and value.is_floating_point()
        and value.dtype is not torch.float64
    )


def _cast(value, dtype):
    if isinstance(value, torch.Tensor):
        if not _is_eligible(value) or value.dtype is dtype:
            return value
        return _cast_weight(value, dtype) if _is_cacheable(value, dtype) else value.to(dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _is_cacheable(tensor, dtype) -> bool:
    """cached_cast() in autocast_mode.cpp: leaves that train, float32 to the lower precision."""
    return (
        dtype is torch.get_autocast_dtype(compat.NAME)
        and tensor.dtype is torch.float32
        and tensor.requires_grad
        and tensor.is_leaf
        and not tensor._is_view()
        and torch.is_autocast_cache_enabled()
        and not torch.is_inference_mode_enabled()
    )


def _cast_weight(tensor, dtype):
    """One cast per weight until autocast ends; the key is the tensor, whatever it holds, as in C++."""
    kept = _casts.get(id(tensor))
    if kept is not None and kept[0]() is tensor:
        return kept[1]
    with torch.enable_grad():
        cast = tensor.to(dtype)
    _casts[id(tensor)] = (weakref.ref(tensor), cast)
    return cast


def _in_dtype(operator, dtype, args, kwargs):
    args = [_cast(value, dtype) for value in args]
    return operator(*args, **{name: _cast(value, dtype) for name, value in kwargs.items()})


def _in_lower_precision(operator, *args, **kwargs):
    with _ExcludeKeys(_NO_AUTOCAST):
        return _in_dtype(operator, torch.get_autocast_dtype(compat.NAME), args, kwargs)


def _in_float32(operator, *args, **kwargs):
    with _ExcludeKeys(_NO_AUTOCAST):
        return _in_dtype(operator, torch.float32, args, kwargs)


def _with_float32_result(operator, *args, **kwargs):
    """Ask for a float32 result unless the caller chose a type."""
    with _ExcludeKeys(_NO_AUTOCAST):
        if any(map(_is_eligible, _tensors(args))):
            position = _dtype_position(operator)
            if position is not None and position < len(args):
                if args[position] is None:
                    args = (*args[:position], torch.float32, *args[position + 1 :])
            elif kwargs.get("dtype") is None:
                kwargs["dtype"] = torch.float32
        return operator(*args, **kwargs)


@functools.lru_cache(None)
def _dtype_position(operator):
    for position, argument in enumerate(operator._schema.arguments):
        if argument.name == "dtype":
            return None if argument.kwarg_only else position
    return None


def _in_widest(operator, *args, **kwargs):
    with _ExcludeKeys(_NO_AUTOCAST):
        dtype = torch.get_autocast_dtype(compat.NAME)
        for tensor in _tensors([*args, *kwargs.values()]):
            if _is_eligible(tensor) and tensor.dtype is torch.float32:
                dtype = torch.float32
        return _in_dtype(operator, dtype, args, kwargs)


def _norm_in_float32(operator, self, p=2, dim=None, keepdim=False):
    aten = torch.ops.aten
    with _ExcludeKeys(_NO_AUTOCAST):
        if operator is aten.norm.Scalar:
            return aten.norm.ScalarOpt_dtype(self, p, dtype=torch.float32)
        return aten.norm.ScalarOpt_dim_dtype(self, p, dim, keepdim, dtype=torch.float32)


def _refuse(operator, *args, **kwargs):
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
        "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
        "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
        "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
        "safe to autocast."
    )


def _tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
