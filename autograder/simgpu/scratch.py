"""What CUDA's kernels take beside their results for the length of one call, where the source says how much.

Sources: aten/src/ATen/native/cuda/SoftMax.cu (softmax_backward_cuda_out, host_softmax, host_softmax_backward,
masked_softmax_cuda, masked_softmax_backward_cuda), Indexing.cu (index_put_with_sort_kernel), group_norm_kernel.cu
(GroupNormKernelImplInternal, GroupNormBackwardKernelImplInternal).
"""

from __future__ import annotations

import torch

_SMALL_ROW = 1024
_SMALL_BYTES = 4096


def take(plan, args: tuple) -> None:
    """Allocate what an operator's kernel takes, after its results as on CUDA, and give it back."""
    taken = list(plan.scratch(*args))
    del taken


def _beside(*tensors):
    """A contiguous copy of each that is not."""
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors if not t.is_contiguous()]


def _softmax(input, dim, half_to_float):
    return _beside(input) if input.numel() else []


def _softmax_backward(grad, output, dim, input_dtype):
    """grad * output, in the layout that TensorIterator gives it; copied if that is not contiguous."""
    product = torch.empty_like(grad if grad.is_contiguous() else output)
    return [product, *_beside(product, output)] if grad.numel() else [product]


def _log_softmax_backward(grad, output, dim, input_dtype):
    return _beside(grad, output) if grad.numel() else []


def _masked_softmax(input, mask, dim=None, mask_type=None):
    if _is_persistent(input, dim) and mask.is_contiguous():
        return []
    return [torch.empty_like(input), torch.empty_like(input)]  # the result's first place; input.masked_fill(mask)


def _masked_softmax_backward(grad, output, mask, dim=None):
    if not grad.numel():
        return []
    copies = _beside(grad, output, mask)
    if _is_persistent(grad, dim):
        return [*copies, torch.empty_like(grad)]  # grad * output
    # the gradient's first place, output.masked_fill(mask), and the product inside _softmax_backward_data
    return [*copies, *(torch.empty_like(grad) for _ in range(3))]


def _is_persistent(tensor, dim) -> bool:
    """The kernel that keeps a row in registers takes it."""
    last = tensor.dim() - 1
    dim = last if dim is None else dim % max(tensor.dim(), 1)
    width = tensor.shape[dim] if tensor.dim() else 1
    return width <= _SMALL_ROW and width * tensor.element_size() <= _SMALL_BYTES and dim >= last


def _sorted_indices(self, indices, values, accumulate=False, unsafe=False):
    """Accumulating puts sort: linear indices, a range, both sorted; values that must be expanded are copied."""
    if not accumulate or not self.numel():
        return []
    given = [index for index in indices if index is not None]
    masks = [index for index in given if index.dtype in (torch.bool, torch.uint8)]
    if masks or not given:
        return []
    shape = torch.broadcast_shapes(*(index.shape for index in given))
    taken = [torch.empty(shape, dtype=torch.int64, device=self.device) for _ in range(4)]
    kept = [length for length, index in zip(self.shape, indices) if index is None] + list(self.shape[len(indices) :])
    put = torch.Size((*shape, *kept))
    if values.numel() < put.numel() or not values.is_contiguous():
        taken.append(torch.empty(put, dtype=self.dtype, device=self.device))
    return taken


def _group_norm(input, weight, bias, batch, channels, pixels, groups, eps):
    """A factor and a term for each channel of each sample."""
    if pixels == 1 or weight is None and bias is None or not input.numel():
        return []
    return [_accumulated(input, batch, channels) for _ in range(2)]


def _group_norm_backward(grad, input, mean, rstd, weight, batch, channels, pixels, groups, mask):
    """Two sums per channel, and for the input's gradient a factor per channel and two terms per group."""
    if not input.numel():
        return []
    taken = [_accumulated(input, batch, channels) for _ in range(2)]
    if pixels > 1 and mask[0]:
        taken += [_accumulated(input, batch, groups) for _ in range(2)]
        taken += [] if weight is None else [_accumulated(input, batch, channels)]
    return taken


def _accumulated(like, *shape):
    dtype = torch.float32 if like.dtype in (torch.float16, torch.bfloat16) else like.dtype
    return torch.empty(shape, dtype=dtype, device=like.device)


#: Operator: what its kernel takes, as tensors.
SCRATCH = {
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "_softmax_backward_data": _softmax_backward,
    "_log_softmax_backward_data": _log_softmax_backward,
    "native_group_norm": _group_norm,
    "native_group_norm_backward": _group_norm_backward,
    "_masked_softmax": _masked_softmax,
    "_masked_softmax_backward": _masked_softmax_backward,
    "index_put_": _sorted_indices,
    "_index_put_impl_": _sorted_indices,
    "index_put": _sorted_indices,
}
