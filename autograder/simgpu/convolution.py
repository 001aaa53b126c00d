"""Convolution: PyTorch sends extra devices to the "overrideable" pair of operators."""

from __future__ import annotations

import torch

from autograder.simgpu import schema
from autograder.simgpu.dispatch import run
from autograder.simgpu.errors_like_cuda import type_in_cuda
from autograder.simgpu.registry import kernel

_FORWARD = schema.plan(torch.ops.aten.convolution.default)
_BACKWARD = schema.plan(torch.ops.aten.convolution_backward.default)


@kernel("convolution_overrideable")
def convolution(input, weight, *rest):
    """All of conv1d to conv_transpose3d."""
    if input.device != weight.device:
        raise RuntimeError(
            f"Input type ({type_in_cuda(input)}) and weight type ({type_in_cuda(weight)}) should be the same"
        )
    return run(_FORWARD, (input, weight, *rest), {})


@kernel("convolution_backward_overrideable")
def convolution_backward(grad, input, weight, stride, padding, dilation, transposed, output_padding, groups, mask):
    """Gradients of input, weight and bias, as ``mask`` asks."""
    bias_size = None
    if mask[2]:
        bias_size = [weight.shape[1] * groups if transposed else weight.shape[0]]
    return run(
        _BACKWARD,
        (grad, input, weight, bias_size, stride, padding, dilation, transposed, output_padding, groups, mask),
        {},
    )
