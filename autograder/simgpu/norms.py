"""Layer, batch and RMS norm: the statistics that CUDA's kernels keep for backward.

The CPU keeps them in the input's type, and none for a batch norm that evaluates; CUDA keeps float32 for half precision
(toAccumulateType), and in evaluation too unless cuDNN takes the call. Sources: ATen/native/cuda/layer_norm_kernel.cu,
ATen/native/cuda/Normalization.cu (batch_norm_cuda), ATen/native/cudnn/BatchNorm.cpp, ATen/native/layer_norm.cpp.
"""

from __future__ import annotations

import torch

from autograder.simgpu import compat, schema
from autograder.simgpu.dispatch import on_host, run
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_aten = torch.ops.aten
_LAYER = schema.plan(_aten.native_layer_norm.default)
_LAYER_BACKWARD = _aten.native_layer_norm_backward.default
_BATCH = schema.plan(_aten.native_batch_norm.default)
_BATCH_BACKWARD = _aten.native_batch_norm_backward.default
_RMS = schema.plan(_aten._fused_rms_norm.default)
_HALVES = (torch.float16, torch.bfloat16)
_CUDNN_LARGEST_BATCH = {True: 880801, False: 65535}  # training or not


@kernel("native_layer_norm")
def layer_norm(input, normalized_shape, weight, bias, eps):
    """Returns (output, mean, rstd); the statistics are float32 for half precision."""
    return run(_LAYER, (input, normalized_shape, weight, bias, eps), {}, _accumulated)


@kernel("native_layer_norm_backward")
def layer_norm_backward(grad, input, normalized_shape, mean, rstd, weight, bias, mask):
    """Gradients of input, weight and bias."""
    mean, rstd = (_as_cpu_kept(statistic, input, weight) for statistic in (mean, rstd))
    return on_host(_LAYER_BACKWARD, grad, input, normalized_shape, mean, rstd, weight, bias, mask)


@kernel("native_batch_norm")
def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """Returns (output, mean, invstd); one number per channel each, none where cuDNN evaluates."""
    keeps_some = training or not _cudnn_takes(input, weight, bias, running_mean, training)

    def finish(results):
        output, mean, invstd = results
        if keeps_some and not training:
            mean, invstd = (torch.zeros(input.shape[1], dtype=output.dtype, device="cpu") for _ in range(2))
        return _accumulated((output, mean, invstd))

    return run(_BATCH, (input, weight, bias, running_mean, running_var, training, momentum, eps), {}, finish)


@kernel("native_batch_norm_backward")
def batch_norm_backward(grad, input, weight, running_mean, running_var, mean, invstd, train, eps, mask):
    """Gradients of input, weight and bias."""
    mean, invstd = (_as_cpu_kept(statistic, input, weight) for statistic in (mean, invstd))
    return on_host(_BATCH_BACKWARD, grad, input, weight, running_mean, running_var, mean, invstd, train, eps, mask)


@kernel("rms_norm", keys=(compat.AUTOGRAD_KEY, compat.KERNEL_KEY))
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """One fused kernel that keeps one number per row, where extra devices get the composite of six operators."""
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


def _as_cpu_kept(statistic, input, weight):
    """Statistics on the host, in the type of the CPU's backward: float32 beside a float32 weight, else the input's."""
    is_mixed = weight is not None and weight.dtype == torch.float32
    if statistic is None or input.dtype not in _HALVES or is_mixed:
        return statistic
    return unwrap(statistic).to(input.dtype)


def _cudnn_takes(input, weight, bias, running_mean, training) -> bool:
    """_select_batch_norm_backend in ATen/native/Normalization.cpp (its smallest epsilon is 0 since cuDNN 7.5)."""
    return (
        torch.backends.cudnn.enabled
        and weight is not None
        and bias is not None
        and torch.bfloat16 not in (input.dtype, weight.dtype)
        and (input.dtype != torch.float16 or weight.dtype == torch.float32)
        and (running_mean is not None or training)
        and input.dim() >= 3
        and input.shape[0] <= _CUDNN_LARGEST_BATCH[training]
    )
