"""scaled_dot_product_attention as CUDA's flash kernel remembers it: q, k, v, the output and one number per row.

PyTorch sends extra devices down the math path, which keeps the whole (queries x keys) matrix. The CPU's flash
operator has the same contract as CUDA's, so it is used wherever CUDA would use flash or memory-efficient attention.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.simgpu import compat, randomness
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_math = torch.ops.aten._scaled_dot_product_attention_math.default
_FLASH_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@kernel("scaled_dot_product_attention", keys=(compat.AUTOGRAD_KEY, compat.KERNEL_KEY))
def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Same arguments as F.scaled_dot_product_attention."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = _additive(attn_mask, query.dtype)
    if _can_flash(query, key, value, attn_mask):
        if enable_gqa:
            key, value = _repeat_heads(query, key), _repeat_heads(query, value)
        if dropout_p:
            return _DropoutAttention.apply(query, key, value, attn_mask, dropout_p, is_causal, scale)
        return _flash(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return _math(query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa)[0]


def _can_flash(query, key, value, mask) -> bool:
    if not (torch.backends.cuda.flash_sdp_enabled() or torch.backends.cuda.mem_efficient_sdp_enabled()):
        return False
    if query.is_nested or query.dim() != 4 or query.dtype not in _FLASH_TYPES:
        return False
    if not query.shape[-1] == key.shape[-1] == value.shape[-1] or not query.numel() or not key.numel():
        return False
    return mask is None or (not mask.requires_grad and mask.dtype == query.dtype and mask.dim() in (2, 4))


def _additive(mask, dtype):
    """A boolean mask as numbers to add: 0 where attention is allowed, -inf elsewhere."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask.logical_not(), float("-inf"))


def _repeat_heads(query, tensor):
    return tensor.repeat_interleave(query.size(-3) // tensor.size(-3), -3)


class _DropoutAttention(torch.autograd.Function):
    """Attention with dropout that recomputes in backward from the random state, as flash attention does."""

    @staticmethod
    def forward(ctx, query, key, value, mask, dropout_p, is_causal, scale):
        ctx.options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
        ctx.random_state = randomness.state()
        output = wrap(_on_host(query, key, value, mask, ctx.options))
        rows = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, mask, output, rows)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        query, key, value, mask, _, _ = ctx.saved_tensors
        operands = [unwrap(tensor).detach().requires_grad_() for tensor in (query, key, value)]
        with torch.enable_grad(), randomness.replay(ctx.random_state):
            output = _on_host(*operands, mask, ctx.options)
        grads = torch.autograd.grad(output, operands, unwrap(grad))
        return *map(wrap, grads), None, None, None, None


def _on_host(query, key, value, mask, options):
    operands = [unwrap(tensor) if not tensor.is_cpu else tensor for tensor in (query, key, value)]
    with randomness.as_default():
        return F.scaled_dot_product_attention(*operands, None if mask is None else unwrap(mask), **options)
