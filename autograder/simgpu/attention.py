"""scaled_dot_product_attention as CUDA's fused kernels remember it: operands, output and one number per row.

PyTorch sends extra devices down the math path, which keeps the whole (queries x keys) matrix. Here the call goes to the
kernel that CUDA would choose. Numbers come from the CPU's flash operator; what is kept, and what backward takes for a
moment, is what CUDA's kernels allocate.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.simgpu import attention_choice, attention_memory, compat, randomness
from autograder.simgpu.attention_choice import EFFICIENT, FLASH, MATH, Call
from autograder.simgpu.devices import named
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap

_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default
_CPP_NAMES = {
    torch.float16: "c10::Half",
    torch.bfloat16: "c10::BFloat16",
    torch.float32: "float",
    torch.float64: "double",
}
_math = torch.ops.aten._scaled_dot_product_attention_math.default


@kernel("scaled_dot_product_attention", keys=(compat.AUTOGRAD_KEY, compat.KERNEL_KEY))
def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Same arguments as F.scaled_dot_product_attention; raises RuntimeError in CUDA's words for operands that differ."""
    _validate(query, key, value)
    backend = attention_choice.choose(Call(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa))
    mask = _as_numbers(attn_mask, query.dtype)
    if backend == MATH:
        return _math(query, key, value, mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa)[0]
    if mask is not None and mask.device != query.device:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but got attn_bias is on {named(mask.device)}, different from "
            f"other tensors on {named(query.device)} (when checking argument in method "
            "wrapper_CUDA__scaled_dot_product_efficient_attention)"
        )
    options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if backend == EFFICIENT and mask is not None:
        mask = attention_memory.aligned_bias(mask, query, key)
    if backend == FLASH and query.shape[-1] % 8:
        options["scale"] = query.shape[-1] ** -0.5 if scale is None else scale
        padded = [F.pad(tensor, (0, -query.shape[-1] % 8)) for tensor in (query, key, value)]
        return _Fused.apply(*padded, mask, backend, options)[..., : query.shape[-1]]
    return _Fused.apply(query, key, value, mask, backend, options)


def _validate(query, key, value):
    """validate_sdpa_input in ATen/native/transformers/attention.cpp."""
    for what, noun in (("dtype", "dtype"), ("device", "device type")):
        of_query, of_key, of_value = (_in_cpp(getattr(tensor, what)) for tensor in (query, key, value))
        if not of_query == of_key == of_value:
            raise RuntimeError(
                f"Expected query, key, and value to have the same {noun}, but got query.{what}: {of_query} key.{what}: "
                f"{of_key} and value.{what}: {of_value} instead."
            )


def _in_cpp(what) -> str:
    """A type or a device as C++ prints it."""
    return _CPP_NAMES.get(what) or str(what).removeprefix("torch.")


def _as_numbers(mask, dtype):
    """A boolean mask as numbers to add: 0 where attention is allowed, -inf elsewhere (convert_boolean_attn_mask)."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask.logical_not(), float("-inf"))


class _Fused(torch.autograd.Function):
    """One call of CUDA's flash, memory-efficient or cuDNN kernel."""

    @staticmethod
    def forward(ctx, query, key, value, mask, backend, options):
        ctx.backend, ctx.options = backend, options
        ctx.random_state = randomness.state()
        trains = any(ctx.needs_input_grad)
        operands = [unwrap(tensor) for tensor in (query, key, value)]
        if _cpu_kernel_takes(operands, options, mask):
            output, rows = _cpu_kernel(*operands, None if mask is None else unwrap(mask), options)
        else:
            output, rows = _replayable(operands, mask, options), None
        output = attention_memory.place_output(output, query, backend)
        saved = attention_memory.saved_beside_output(query, rows, backend, trains)
        ctx.has_rows = rows is not None
        ctx.save_for_backward(query, key, value, mask, output, *saved)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        query, key, value, mask, output, *saved = ctx.saved_tensors
        with attention_memory.backward_scratch(grad, query, key, output, ctx.backend):
            if ctx.has_rows and not ctx.needs_input_grad[3]:
                grads = _cpu_backward(grad, query, key, value, mask, output, saved[0], ctx.options)
            else:
                grads = _recompute(ctx, grad, query, key, value, mask)
            placed = attention_memory.place_gradients(grads, (query, key, value), ctx.backend)
        return *placed, None, None


def _cpu_kernel_takes(operands, options, mask) -> bool:
    """The CPU's flash operator has no dropout, no grouped heads and one width for all."""
    query, key, value = operands
    same = query.shape[-1] == value.shape[-1] and query.shape[1] == key.shape[1]
    return same and not options["dropout_p"] and (mask is None or mask.dtype == query.dtype)


def _cpu_kernel(query, key, value, mask, options):
    """Returns (output, one float32 per row)."""
    return _on_cpu(query, key, value, 0.0, options["is_causal"], attn_mask=mask, scale=options["scale"])


def _cpu_backward(grad, query, key, value, mask, output, rows, options):
    """Gradients of (query, key, value, mask) on the host."""
    rows = unwrap(rows)[..., : query.shape[-2]].reshape(query.shape[:-1])
    operands = [unwrap(tensor) for tensor in (grad, query, key, value, output)]
    mask = None if mask is None else unwrap(mask)
    grads = _backward_on_cpu(*operands, rows, 0.0, options["is_causal"], attn_mask=mask, scale=options["scale"])
    return *grads, None


def _recompute(ctx, grad, query, key, value, mask):
    """Gradients by running forward again with the same random numbers, as flash attention does on the device."""
    operands = [unwrap(tensor).detach().requires_grad_() for tensor in (query, key, value)]
    bias = None if mask is None else unwrap(mask).detach().requires_grad_(ctx.needs_input_grad[3])
    wanted = [*operands, bias] if ctx.needs_input_grad[3] else operands
    with torch.enable_grad(), randomness.replay(ctx.random_state):
        output = _replayable(operands, bias, ctx.options)
    grads = torch.autograd.grad(output, wanted, unwrap(grad))
    return grads if len(grads) == 4 else (*grads, None)


def _replayable(operands, mask, options):
    """Attention on the host by the math kernel, drawing from the device's generator."""
    mask = mask if mask is None or mask.is_cpu else unwrap(mask)
    query = operands[0]
    if mask is not None and mask.dtype != query.dtype:
        mask = mask.to(query.dtype)
    with randomness.as_default():
        return _math(*operands, mask, options["dropout_p"], options["is_causal"], None,
                     scale=options["scale"], enable_gqa=options["enable_gqa"])[0]  # fmt: skip
