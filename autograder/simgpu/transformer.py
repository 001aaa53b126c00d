"""The inference fast paths of nn.MultiheadAttention and nn.TransformerEncoderLayer, made of device operators.

PyTorch calls one operator for a whole layer. Run as one on the host, its inside would cost no device memory; here it is
written out as CUDA's implementation is. Sources: ATen/native/transformers/transformer.cpp,
ATen/native/transformers/cuda/attention.cu (native_multi_head_attention_cuda).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.simgpu import schema
from autograder.simgpu.dispatch import run
from autograder.simgpu.registry import kernel

_aten = torch.ops.aten
_SPLIT = schema.plan(_aten._transform_bias_rescale_qkv.default)


@kernel("_nested_tensor_from_mask_left_aligned")
def can_become_nested(tensor, mask):
    """No: the simulated GPU has no strided nested tensors, so nn.TransformerEncoder keeps padding as padding."""
    return False


@kernel("_transform_bias_rescale_qkv")
def split_projection(qkv, qkv_bias, num_heads):
    """Queries, keys and values of one projection (batch, length, 3 * width), with the bias, queries scaled.

    Raises RuntimeError for an empty one: CUDA launches a block per row, and none is no launch.
    """
    if not qkv.numel():
        raise RuntimeError("CUDA error: invalid configuration argument")
    return run(_SPLIT, (qkv, qkv_bias, num_heads), {})


@kernel("_native_multi_head_attention")
def multi_head_attention(
    query, key, value, embed_dim, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias,
    mask=None, need_weights=True, average_attn_weights=True, mask_type=None,
):  # fmt: skip
    """Returns (output, weights or None); operands are (batch, length, width). Nothing in gives nothing out, and no
    weights."""
    if not query.numel():
        return torch.empty_like(query), None
    if query is key is value and mask is None and not need_weights and embed_dim // num_head % 8 == 0:
        return _fused(query, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias), None
    qkv = _projected(query, key, value, embed_dim, qkv_weight)
    q, k, v = _aten._transform_bias_rescale_qkv(qkv, qkv_bias, num_head)
    del qkv
    weights = q @ k.transpose(-2, -1)
    weights = _softmax(weights, mask, mask_type)
    mixed = torch.matmul(weights, v)
    if not need_weights:
        weights = None
    mixed = mixed.transpose(1, 2).reshape(query.shape)
    if weights is not None and average_attn_weights:
        weights = weights.sum(1).div_(num_head)
    return F.linear(mixed, proj_weight, proj_bias), weights


def _fused(query, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias):
    batch, length, width = query.shape
    chunks = F.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    heads = [chunk.view(batch, length, num_head, -1).transpose(1, 2) for chunk in chunks]
    mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(batch, length, width)
    return F.linear(mixed, proj_weight, proj_bias)


def _projected(query, key, value, embed_dim, qkv_weight):
    """qkv_projection: one product for self-attention, two or three and a cat otherwise."""
    if query is key is value:
        return query @ qkv_weight.t()
    if key is value:
        first, rest = qkv_weight.split([embed_dim, 2 * embed_dim])
        return torch.cat([query @ first.t(), key @ rest.t()], 2)
    parts = zip((query, key, value), qkv_weight.chunk(3))
    return torch.cat([tensor @ weight.t() for tensor, weight in parts], 2)


def _softmax(weights, mask, mask_type):
    if mask is None:
        return _aten._softmax.out(weights, -1, False, out=weights)
    return _aten._masked_softmax(weights, mask.to(torch.bool), weights.dim() - 1, mask_type)


@kernel("_transformer_encoder_layer_fwd")
def encoder_layer(
    src, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, use_gelu, norm_first, eps,
    norm_weight_1, norm_bias_1, norm_weight_2, norm_bias_2, ffn_weight_1, ffn_bias_1, ffn_weight_2, ffn_bias_2,
    mask=None, mask_type=None,
):  # fmt: skip
    """One nn.TransformerEncoderLayer in evaluation; of an empty source, a copy of it."""
    if not src.numel():
        return src.clone()

    def first_norm(x):
        return F.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def second_norm(x):
        return F.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    x = first_norm(src) if norm_first else src
    attend = (x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False, True, mask_type)
    x = multi_head_attention(*attend)[0]
    del attend
    x.add_(src)
    if not norm_first:
        x = first_norm(x)
    before = x
    if norm_first:
        x = second_norm(x)
    x = _feed_forward(x, ffn_weight_1, ffn_bias_1, ffn_weight_2, ffn_bias_2, use_gelu)
    x.add_(before)
    return x if norm_first else second_norm(x)


def _feed_forward(x, weight_1, bias_1, weight_2, bias_2, use_gelu):
    rows = x.reshape(-1, x.shape[-1])
    hidden = _aten._addmm_activation(bias_1, rows, weight_1.t(), use_gelu=use_gelu)
    return F.linear(hidden, weight_2, bias_2).view(x.shape)
