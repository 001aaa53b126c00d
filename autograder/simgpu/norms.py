"""Layer, group and RMS norm: the types CUDA's kernels take, and the statistics they keep for backward.

The CPU keeps a layer norm's in the input's type; CUDA keeps float32 for half precision (toAccumulateType). Sources:
ATen/native/cuda/layer_norm_kernel.cu, cuda/group_norm_kernel.cu, ATen/native/layer_norm.cpp.
"""

from __future__ import annotations

import torch

from autograder.simgpu import compat, schema
from autograder.simgpu.dispatch import on_host, run
from autograder.simgpu.errors_like_cuda import found_type
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_aten = torch.ops.aten
_LAYER = schema.plan(_aten.native_layer_norm.default)
_LAYER_BACKWARD = _aten.native_layer_norm_backward.default
_GROUP = schema.plan(_aten.native_group_norm.default)
_RMS = schema.plan(_aten._fused_rms_norm.default)
_HALVES = (torch.float16, torch.bfloat16)


@kernel("native_layer_norm")
def layer_norm(input, normalized_shape, weight, bias, eps):
    """Returns (output, mean, rstd); the statistics are float32 for half precision."""
    _check_types(input, weight, bias)
    return run(_LAYER, (input, normalized_shape, weight, bias, eps), {}, _accumulated)


@kernel("native_layer_norm_backward")
def layer_norm_backward(grad, input, normalized_shape, mean, rstd, weight, bias, mask):
    """Gradients of input, weight and bias."""
    mean, rstd = (_as_cpu_kept(statistic, input) for statistic in (mean, rstd))
    return on_host(_LAYER_BACKWARD, grad, input, normalized_shape, mean, rstd, weight, bias, mask)


@kernel("native_group_norm")
def group_norm(input, weight, bias, *rest):
    """Returns (output, mean, rstd); the statistics are of the input's type."""
    _check_types(input, weight, bias)
    return run(_GROUP, (input, weight, bias, *rest), {})


def _check_types(input, weight, bias):
    """CUDA's kernels read weight and bias as the input's type (const_data_ptr<T>; pytorch/pytorch#135969, #188503)."""
    for parameter in (weight, bias):
        if parameter is not None and parameter.dtype != input.dtype:
            raise found_type(input.dtype, parameter.dtype)


@kernel("rms_norm", keys=(compat.AUTOGRAD_KEY, compat.KERNEL_KEY))
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """One fused kernel that keeps one number per row, where extra devices get the composite of six operators."""
    if weight is not None and weight.dtype != input.dtype:  # "Cannot dispatch to fused implementation"
        return compat.composite(_aten.rms_norm.default)(input, normalized_shape, weight, eps)
    if input.is_complex() or not input.is_contiguous() and _is_channels_last(input):
        return _aten._fused_rms_norm(input, normalized_shape, weight, eps)[0]
    return _RmsNorm.apply(input, weight, list(normalized_shape), eps)


def _is_channels_last(tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.dim() in formats and tensor.is_contiguous(memory_format=formats[tensor.dim()])


class _RmsNorm(torch.autograd.Function):
    """_fused_rms_norm: saves the input, the weight and 1 / rms per row in float32."""

    @staticmethod
    def forward(ctx, input, weight, shape, eps):
        ctx.shape, ctx.eps = shape, eps
        arguments = (input, shape, weight, eps)
        output, rstd = run(_RMS, arguments, {}, lambda results: (results[0], _rows(results[1], results[0])))
        ctx.save_for_backward(input, weight, rstd)
        return output

    @staticmethod
    def backward(ctx, grad):
        input, weight, _ = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the composite can be differentiated again
            return *_differentiable(grad, input, weight, ctx), None, None
        on_cpu = [None if tensor is None else unwrap(tensor) for tensor in (grad, input, weight)]
        return *(None if grad is None else wrap(grad) for grad in _gradients(*on_cpu, ctx)), None, None


def _rows(statistic, output):
    """The statistic in the type that CUDA keeps it in."""
    return statistic.to(torch.float32) if output.dtype in _HALVES else statistic


def _gradients(grad, input, weight, ctx):
    operands = [None if tensor is None else tensor.detach().requires_grad_() for tensor in (input, weight)]
    with torch.enable_grad():
        output = torch.rms_norm(operands[0], ctx.shape, operands[1], ctx.eps)
    wanted = [tensor for tensor in operands if tensor is not None]
    grads = torch.autograd.grad(output, wanted, grad)
    return grads if weight is not None else (*grads, None)


def _differentiable(grad, input, weight, ctx):
    output = _aten._fused_rms_norm(input, ctx.shape, weight, ctx.eps)[0]
    wanted = [tensor for tensor in (input, weight) if tensor is not None and tensor.requires_grad]
    found = dict(zip(map(id, wanted), torch.autograd.grad(output, wanted, grad, create_graph=True)))
    return found.get(id(input)), found.get(id(weight))


def _accumulated(results):
    """The output, and its statistics as CUDA accumulates them."""
    output, *statistics = results
    return output, *(s.to(torch.float32) if s.dtype in _HALVES else s for s in statistics)


def _as_cpu_kept(statistic, input):
    """Statistics on the host, in the type of the CPU's backward."""
    if statistic is None or input.dtype not in _HALVES:
        return statistic
    return unwrap(statistic).to(input.dtype)
