"""The backward of nn.Embedding: CUDA sorts the indices of large batches and sums in parts.

Source: ATen/native/cuda/Embedding.cu (embedding_dense_backward_cuda) and EmbeddingBackwardKernel.cu. What CUB's sort
takes for itself is not modelled.
"""

from __future__ import annotations

import torch

from autograder.simgpu import schema
from autograder.simgpu.dispatch import run
from autograder.simgpu.registry import kernel

_BACKWARD = schema.plan(torch.ops.aten.embedding_dense_backward.default)
_MOST_UNSORTED = 3072
_ROWS_PER_THREAD = 10  # NROWS_PER_THREAD


@kernel("embedding_dense_backward")
def embedding_dense_backward(grad, indices, num_weights, padding_idx, scale_grad_by_freq):
    """The gradient of the weights."""
    taken = list(_scratch(grad, indices, num_weights, scale_grad_by_freq))
    result = run(_BACKWARD, (grad, indices, num_weights, padding_idx, scale_grad_by_freq), {})
    del taken
    return result


def _scratch(grad, indices, num_weights, scale_grad_by_freq):
    count, width = indices.numel(), grad.shape[-1]
    if not grad.is_contiguous():
        yield torch.empty_like(grad, memory_format=torch.contiguous_format)
    if count <= _MOST_UNSORTED and not scale_grad_by_freq:
        return
    segments = min(count, num_weights)
    parts = count // _ROWS_PER_THREAD + segments
    yield indices.new_empty(count)  # sorted
    yield indices.new_empty(count)  # where each came from
    if scale_grad_by_freq:
        yield indices.new_empty(count)
    yield indices.new_empty(count)  # offsets of the segments
    for length in (1, segments, segments, 1, parts):
        yield indices.new_empty(length)
    summed = grad.dtype if grad.dtype == torch.float64 else torch.float32
    yield torch.empty(parts, width, dtype=summed, device=grad.device)
