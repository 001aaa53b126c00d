"""What CUDA's attention kernels allocate: layouts of results, what they save beside them, what backward takes.

Sources (torch 2.13 unless told otherwise): torch/_meta_registrations.py, which ships in the wheel, for shapes of results;
ATen/native/transformers/cuda/attention.cu, attention_backward.cu, flash_attn/flash_api.cpp and
mem_eff_attention/kernel_backward.h for what is taken for a moment.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F

from autograder.simgpu.attention_choice import CUDNN, EFFICIENT, FLASH
from autograder.simgpu.storage import unwrap, wrap

_ROWS_ALIGNED = 32  # kAlignLSE: rows of logsumexp are padded to a multiple of this
_BIAS_ALIGNED = 16  # pad_bias<16>: elements of a mask's row
_BLOCK = 64  # queries and columns of one block of the memory-efficient backward
_BLOCK_BYTES = 16 + 4 * _BLOCK * _BLOCK  # GradQTempStorage: a lock, a counter, and a block of float32


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def aligned_bias(mask, query, key):
    """preprocess_mask: rows padded to 16 elements where they are not, then expanded to all heads without a copy."""
    if mask.stride(-1) != 1 or any(step % _BIAS_ALIGNED for step in mask.stride()[:-1]):
        width = mask.shape[-1]
        mask = F.pad(mask, (0, _BIAS_ALIGNED - width % _BIAS_ALIGNED))[..., :width]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


def place_output(output, query, backend):
    """A host result on the device: laid out as the query (flash, cuDNN) or as (batch, row, head, width) (efficient)."""
    if backend == EFFICIENT:
        return _laid_out(output, _rows_before_heads(output.shape))
    return _laid_out(output, torch.empty_like(unwrap(query)).stride())


def place_gradients(grads, operands, backend):
    """Gradients on the device: empty_like(operand) for flash and cuDNN, (batch, row, head, width) for efficient."""
    *grads, of_mask = grads
    placed = [
        _laid_out(
            grad,
            _rows_before_heads(grad.shape) if backend == EFFICIENT else torch.empty_like(unwrap(operand)).stride(),
        )
        for grad, operand in zip(grads, operands)
    ]
    return [*placed, None if of_mask is None else _aligned_gradient(of_mask)]


def _aligned_gradient(grad):
    """The gradient of a mask: its rows are padded to 16 elements."""
    width = grad.shape[-1]
    whole = grad.new_empty(*grad.shape[:-1], _up(width, _BIAS_ALIGNED))
    whole[..., :width].copy_(grad)
    return wrap(whole)[..., :width]


def _rows_before_heads(shape) -> tuple[int, ...]:
    _, heads, rows, width = shape
    return (rows * heads * width, width, heads * width, 1)


def _laid_out(host, strides):
    """A device tensor over a host result, copied on the host only if its layout differs."""
    if host.stride() != tuple(strides):
        host = torch.empty_strided(host.shape, strides, dtype=host.dtype, device="cpu").copy_(host)
    return wrap(host)


def saved_beside_output(query, rows, backend, trains):
    """The float32 logsumexp, and for flash the random state: two small tensors, dropout or not.

    ``rows`` is the CPU's logsumexp (batch, heads, rows), or None where it was not computed. The memory-efficient kernel
    computes it only if something requires a gradient (should_compute_logsumexp), and keeps its seed on the host.
    """
    batch, heads, length, _ = query.shape
    width = _up(length, _ROWS_ALIGNED) if backend == EFFICIENT else length
    if backend == EFFICIENT and not trains:
        width = 0
    logsumexp = torch.zeros(batch, heads, width, dtype=torch.float32, device="cpu")
    if rows is not None and width:
        logsumexp[..., :length] = rows
    saved = [wrap(logsumexp)]
    if backend == FLASH:
        saved += [_small(query, 2), _small(query, 1)]  # rng_state and an unused one, both uint64
    elif backend == CUDNN:
        saved += [_small(query, 1), _small(query, 1)]  # seed and offset
    return saved


def _small(query, count):
    return torch.empty(count, dtype=torch.int64, device=query.device)


@contextlib.contextmanager
def backward_scratch(grad, query, key, output, backend):
    """What a backward kernel allocates beside its results, held while it runs."""
    taken = list(_efficient_scratch(grad, query) if backend == EFFICIENT else _flash_scratch(grad, query, key, output))
    yield
    del taken


def _flash_scratch(grad, query, key, output):
    """mha_bwd: dot products per row, float32 gradients of the query, keys and values for each query head if grouped."""
    batch, heads, rows, width = query.shape
    rows = _up(rows, 128)
    yield _float32(query, batch, heads, rows)
    yield _float32(query, batch, rows, heads, _up(width, 32))
    if key.shape[1] != heads:
        for _ in range(2):
            yield torch.empty(batch, key.shape[2], heads, width, dtype=query.dtype, device=query.device)
    for tensor in (grad, output):  # the kernel wants them contiguous as (batch, row, head, width)
        if not tensor.transpose(1, 2).is_contiguous():
            yield torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _efficient_scratch(grad, query):
    """_efficient_attention_backward: the rows' dot products, and a block of float32 per 64 queries and 64 columns."""
    batch, heads, rows, width = query.shape
    if query.dtype == torch.float32:
        yield _float32(query, *grad.shape)  # (grad * output).sum(-1)
    yield _float32(query, batch, heads, rows)
    blocks = -(-rows // _BLOCK) * -(-width // _BLOCK)
    yield torch.empty(batch * heads * blocks * _BLOCK_BYTES, dtype=torch.uint8, device=query.device)


def _float32(like, *shape):
    return torch.empty(shape, dtype=torch.float32, device=like.device)
