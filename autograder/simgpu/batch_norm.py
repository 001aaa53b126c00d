"""Batch norm: which types CUDA mixes, and the statistics it keeps for backward.

The CPU keeps them in the input's type, and none where it evaluates; CUDA keeps float32 for half precision
(toAccumulateType), and in evaluation too unless cuDNN takes the call. CUDA mixes half precision with float32 weights and
running statistics as it likes, the CPU does not: here half precision is computed in float32. Sources:
ATen/native/cuda/Normalization.cu (batch_norm_cuda, batch_norm_backward_cuda), ATen/native/cudnn/BatchNorm.cpp,
ATen/native/Normalization.cpp.
"""

from __future__ import annotations

import torch

from autograder.simgpu import schema
from autograder.simgpu.dispatch import on_host, run
from autograder.simgpu.errors_like_cuda import found_type, type_in_cuda
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_aten = torch.ops.aten
_PLAN = schema.plan(_aten.native_batch_norm.default)
_BACKWARD = _aten.native_batch_norm_backward.default
_HALVES = (torch.float16, torch.bfloat16)
_CUDNN_LARGEST_BATCH = {True: 880801, False: 65535}  # training or not


@kernel("native_batch_norm", "_native_batch_norm_legit")
def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """Returns (output, mean, invstd); one number per channel each, none where cuDNN evaluates.

    Raises RuntimeError for weights that are neither of the input's type nor float32 beside half precision.
    """
    _check_types(input, weight, bias, _cudnn_takes(input, weight, bias, running_mean, training))
    if not input.numel():  # PyTorch's CPU kernel divides by the number of rows
        return torch.empty_like(input), *_statistics_of_nothing(input)
    keeps_some = training or not _cudnn_takes(input, weight, bias, running_mean, training)

    def finish(results):
        output, mean, invstd = results
        if keeps_some and not training:
            mean, invstd = (torch.zeros(input.shape[1], dtype=output.dtype, device="cpu") for _ in range(2))
        return output.to(input.dtype), mean, invstd

    arguments = (input, weight, bias, running_mean, running_var, training, momentum, eps)
    return run(_HALF_PLAN if input.dtype in _HALVES else _PLAN, arguments, {}, finish)


@kernel("_native_batch_norm_legit.no_stats")
def batch_norm_without_statistics(input, weight, bias, training, momentum, eps):
    """The same without running statistics."""
    return batch_norm(input, weight, bias, None, None, training, momentum, eps)


class _InFloat32(schema.Plan):
    """native_batch_norm over float32 copies; running statistics are written back."""

    def __init__(self):
        super().__init__(_aten.native_batch_norm.default)
        self.call = self._run

    @staticmethod
    def _run(input, weight, bias, running_mean, running_var, training, momentum, eps):
        widened = [_wide(tensor) for tensor in (input, weight, bias, running_mean, running_var)]
        results = _aten.native_batch_norm.default(*widened, training, momentum, eps)
        for kept, wide in zip((running_mean, running_var), widened[3:]):
            if training and kept is not None and kept is not wide:
                kept.copy_(wide)
        return results


_HALF_PLAN = _InFloat32()


@kernel("native_batch_norm_backward")
def batch_norm_backward(grad, input, weight, running_mean, running_var, mean, invstd, train, eps, mask):
    """Gradients of input, weight and bias."""
    if not input.numel():
        grads = [torch.zeros_like(input), *(torch.zeros_like(mean) for _ in range(2))]
        return tuple(grad if wanted else None for grad, wanted in zip(grads, mask))
    tensors = (grad, input, weight, running_mean, running_var, mean, invstd)
    if input.dtype not in _HALVES:
        return on_host(_BACKWARD, *tensors, train, eps, mask)
    widened = [None if tensor is None else _wide(unwrap(tensor)) for tensor in tensors]
    of_input, of_weight, of_bias = _BACKWARD(*widened, train, eps, mask)
    dtype = input.dtype if weight is None else weight.dtype
    results = (of_input, input.dtype), (of_weight, dtype), (of_bias, dtype)
    return tuple(None if found is None else wrap(found.to(kind)) for found, kind in results)


def _statistics_of_nothing(input):
    dtype = torch.float32 if input.dtype in _HALVES else input.dtype
    return (torch.full((input.shape[1],), torch.nan, dtype=dtype, device=input.device) for _ in range(2))


def _wide(tensor):
    return tensor.float() if tensor is not None and tensor.dtype in _HALVES else tensor


def _check_types(input, weight, bias, by_cudnn):
    """Parameters are of the input's type, or float32 beside half precision (is_mixed_type in Normalization.cu)."""
    accepted = (input.dtype, torch.float32) if input.dtype in _HALVES else (input.dtype,)
    for parameter in (weight, bias):
        if parameter is None or parameter.dtype in accepted:
            continue
        if by_cudnn:
            raise RuntimeError(
                "Expected tensor for argument #1 'input' to have the same type as tensor for argument #2 'weight'; but type "
                f"{type_in_cuda(input)} does not equal {type_in_cuda(parameter)} (while checking arguments for "
                "cudnn_batch_norm)"
            )
        raise found_type(input.dtype, parameter.dtype)


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
