"""The kernels between nn.SyncBatchNorm's collectives: do two parts of a batch give what the whole gives?"""

import pytest
import torch
import torch.nn.functional as F

EPS, MOMENTUM = 1e-5, 0.1


def whole(x, grad, weight, bias):
    """Batch norm of all on the CPU: (result, running mean and variance, gradients)."""
    leaves = [tensor.float().requires_grad_() for tensor in (x, weight, bias) if tensor is not None]
    running = [torch.zeros(3), torch.ones(3)]
    affine = leaves[1:] or [None, None]
    result = F.batch_norm(leaves[0], *running, *affine, True, MOMENTUM, EPS)
    return result.detach(), running, torch.autograd.grad(result, leaves, grad.float())


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_two_parts_make_a_whole(dtype, affine, device):
    """GIVEN parts of 2 and 4 samples WHEN normalized with gathered statistics THEN batch norm of all 6."""
    torch.manual_seed(0)
    x, grad = torch.randn(6, 3, 4).to(dtype), torch.randn(6, 3, 4).to(dtype)
    weight, bias = (torch.rand(3), torch.rand(3)) if affine else (None, None)
    expected, expected_running, expected_grads = whole(x, grad, weight, bias)
    parts, grads = ([tensor.to(device) for tensor in whole_one.split([2, 4])] for whole_one in (x, grad))
    weight, bias = (None if tensor is None else tensor.to(device) for tensor in (weight, bias))
    running = [torch.zeros(3, device=device), torch.ones(3, device=device)]

    means, inverses = map(torch.stack, zip(*(torch.batch_norm_stats(part, EPS) for part in parts)))
    counts = torch.tensor([8.0, 16.0], device=device)
    mean, invstd = torch.batch_norm_gather_stats_with_counts(parts[0], means, inverses, *running, MOMENTUM, EPS, counts)
    results = [torch.batch_norm_elemt(part, weight, bias, mean, invstd, EPS) for part in parts]
    assert mean.dtype == invstd.dtype == torch.float32 and results[0].dtype == dtype
    pieces = [
        torch.batch_norm_backward_reduce(g, part, mean, invstd, weight, True, affine, affine)
        for g, part in zip(grads, parts)
    ]
    sums = [sum(piece[k] for piece in pieces) for k in range(2)]
    of_input = [
        torch.batch_norm_backward_elemt(g, part, mean, invstd, weight, *sums, counts.int())
        for g, part in zip(grads, parts)
    ]

    tolerance = {} if dtype is torch.float32 else {"rtol": 0.03, "atol": 0.03}
    found = [torch.cat(results), *running, torch.cat(of_input)]
    if affine:
        found += [sum(piece[k] for piece in pieces) for k in (2, 3)]
    for one, other in zip([expected, *expected_running, *expected_grads], found):
        torch.testing.assert_close(other.cpu().float(), one, **tolerance)


def test_equal_parts(device):
    """GIVEN parts of one size THEN batch_norm_gather_stats takes that size alone."""
    x = torch.randn(4, 3, 5, device=device)
    means, inverses = map(torch.stack, zip(*(torch.batch_norm_stats(part, EPS) for part in x.split(2))))
    mean, invstd = torch.batch_norm_gather_stats(x, means, inverses, None, None, MOMENTUM, EPS, 10)
    for found, expected in zip((mean, invstd), torch.batch_norm_stats(x, EPS)):
        torch.testing.assert_close(found, expected)


def test_a_rank_without_samples(device):
    """GIVEN an empty part THEN its elements are none, and the process lives."""
    empty = torch.zeros(0, 3, 4, device=device)
    mean, invstd = torch.zeros(3, device=device), torch.ones(3, device=device)
    assert torch.batch_norm_elemt(empty, None, None, mean, invstd, EPS).shape == empty.shape


def test_sync_batch_norm_alone_is_batch_norm(device):
    """GIVEN one process THEN nn.SyncBatchNorm trains on the device as nn.BatchNorm1d does."""
    x = torch.randn(6, 3, 4, device=device)
    torch.testing.assert_close(torch.nn.SyncBatchNorm(3).to(device)(x), torch.nn.BatchNorm1d(3).to(device)(x))
