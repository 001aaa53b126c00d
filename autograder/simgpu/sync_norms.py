"""The pieces of batch norm that nn.SyncBatchNorm runs between its collectives; only CUDA has them.

Source: ATen/native/cuda/Normalization.cu and Normalization.cuh (wheel). Statistics are float32 for half precision
(toAccumulateType).
"""

from __future__ import annotations

import torch

from autograder.simgpu.errors_like_cuda import check_one_device
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_HALVES = (torch.float16, torch.bfloat16)


def _wide(tensor):
    """Host numbers in the type that CUDA accumulates in."""
    return tensor.float() if tensor.dtype in _HALVES else tensor


def _over_channels(statistic, like):
    """A number per channel, shaped to meet (batch, channel, ...)."""
    return statistic.reshape(1, -1, *[1] * (like.dim() - 2))


def _others(tensor) -> list[int]:
    return [dim for dim in range(tensor.dim()) if dim != 1]


@kernel("batch_norm_stats")
def stats(input, eps):
    """Returns (mean, 1 / sqrt(variance + eps)), one number per channel."""
    wide = _wide(unwrap(input))
    variance, mean = torch.var_mean(wide, _others(wide), correction=0)
    return wrap(mean), wrap((variance + eps).rsqrt())


@kernel("batch_norm_elemt")
def normalize(input, weight, bias, mean, invstd, eps):
    """(input - mean) * invstd * weight + bias, in the input's type."""
    check_one_device("batch_norm_elemt", input=input, weight=weight, bias=bias, mean=mean, invstd=invstd)
    host = unwrap(input)
    output = (_wide(host) - _over_channels(unwrap(mean), host)) * _over_channels(unwrap(invstd), host)
    if weight is not None:
        output = output * _over_channels(_wide(unwrap(weight)), host)
    if bias is not None:
        output = output + _over_channels(_wide(unwrap(bias)), host)
    return wrap(output.to(host.dtype))


@kernel("batch_norm_gather_stats")
def gather_stats(input, mean, invstd, running_mean, running_var, momentum, eps, count):
    """The same for ranks with equally many elements."""
    counts = torch.full((mean.shape[0],), count, dtype=mean.dtype, device=mean.device)
    return gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps, counts)


@kernel("batch_norm_gather_stats_with_counts")
def gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps, counts):
    """Statistics over all ranks from (rank, channel); running statistics follow, with the unbiased variance."""
    check_one_device("batch_norm_gather_stats_with_counts", input=input, mean=mean, invstd=invstd,
                     running_mean=running_mean, running_var=running_var, counts=counts)  # fmt: skip
    means, inverses, counts = (_wide(unwrap(tensor)) for tensor in (mean, invstd, counts))
    shares = counts.reshape(-1, 1)
    total = shares.sum()
    average = (means * shares).sum(0) / total
    squares = ((inverses**-2 - eps + (means - average) ** 2) * shares).sum(0)
    for running, fresh in ((running_mean, average), (running_var, squares / (total - 1))):
        if running is not None:
            host = unwrap(running)
            host.copy_((1 - momentum) * host + momentum * fresh)
    return wrap(average), wrap((squares / total + eps).rsqrt())


@kernel("batch_norm_backward_reduce")
def backward_reduce(grad_out, input, mean, invstd, weight, input_g, weight_g, bias_g):
    """Returns (sum of grad, sum of grad * (input - mean), weight's gradient, bias's), those asked for."""
    check_one_device(
        "batch_norm_backward_reduce", grad_out=grad_out, input=input, mean=mean, invstd=invstd, weight=weight
    )
    grad, host = _wide(unwrap(grad_out)), _wide(unwrap(input))
    total = grad.sum(_others(grad))
    scaled = (grad * (host - _over_channels(unwrap(mean), host))).sum(_others(grad))
    dtype = scaled.dtype if weight is None else weight.dtype
    of_weight = wrap((scaled * unwrap(invstd)).to(dtype)) if weight_g else None
    of_bias = wrap(total.to(dtype, copy=True)) if bias_g else None
    return (wrap(total), wrap(scaled), of_weight, of_bias) if input_g else (None, None, of_weight, of_bias)


@kernel("batch_norm_backward_elemt")
def backward_elements(grad_out, input, mean, invstd, weight, sum_dy, sum_dy_xmu, count):
    """The input's gradient from sums over all ranks."""
    check_one_device("batch_norm_backward_elemt", grad_out=grad_out, input=input, mean=mean, invstd=invstd, weight=weight,
                     sum_dy=sum_dy, sum_dy_xmu=sum_dy_xmu, count=count)  # fmt: skip
    host, inverse, total = unwrap(input), unwrap(invstd), unwrap(count).sum()
    centred = _wide(host) - _over_channels(unwrap(mean), host)
    slope = _over_channels(unwrap(sum_dy_xmu) / total * inverse**2, host)
    factor = inverse if weight is None else inverse * _wide(unwrap(weight))
    grad = _wide(unwrap(grad_out)) - _over_channels(unwrap(sum_dy) / total, host) - centred * slope
    return wrap((grad * _over_channels(factor, host)).to(host.dtype))
