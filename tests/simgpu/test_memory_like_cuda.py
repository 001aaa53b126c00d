"""Do operators whose memory differs between fused and composite kernels follow CUDA's fused ones?"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

ROWS, WIDTH = 256, 512
ONE = ROWS * WIDTH * 4


def rounded(nbytes):
    return -(-nbytes // 512) * 512


def kept_and_peak(operation, device, ledger):
    """Bytes kept by forward (result included), and forward's peak, above what was there."""
    x = torch.randn(ROWS, WIDTH, device=device, requires_grad=True)
    start = ledger.counters().allocated
    ledger.reset_peak()
    result = operation(x)
    counters = ledger.counters()
    del result
    return counters.allocated - start, counters.peak - start


def in_place_relu(x):
    return F.relu(x * 1.0, inplace=True)


# What CUDA keeps: the result and what backward needs, from derivatives.yaml and the CUDA kernels' outputs.
FUSED = {
    "layer_norm": (lambda x: F.layer_norm(x, (WIDTH,)), ONE + 2 * rounded(ROWS * 4), 0),
    "group_norm": (lambda x: F.group_norm(x, 4), ONE + 2 * rounded(ROWS * 4 * 4), 0),
    "softmax": (lambda x: x.softmax(1), ONE, 0),
    "gelu": (F.gelu, ONE, 0),
    "relu": (F.relu, ONE, 0),
    "relu, in place": (in_place_relu, ONE, 0),
    "dropout": (lambda x: F.dropout(x, 0.5), ONE + ROWS * WIDTH, 0),
    "two operations": (lambda x: (x * 2).exp(), ONE, ONE),
    "sigmoid of exp": (lambda x: x.exp().sigmoid(), 2 * ONE, 0),
    "max": (lambda x: x.max(1).values, 2 * rounded(ROWS * 8) - rounded(ROWS * 4), 0),
    "mean": (lambda x: x.mean(), 512, 0),
    "view": (lambda x: x.view(-1)[5:], 0, 0),
    "clone": (lambda x: x.clone(), ONE, 0),
}


@pytest.mark.parametrize("name", FUSED)
def test_what_forward_keeps(name, device, ledger):
    """How many bytes are kept, and how many more were needed for a moment?"""
    operation, expected, passing = FUSED[name]
    kept, peak = kept_and_peak(operation, device, ledger)
    assert kept == expected
    assert peak - kept == passing


def test_foreach_makes_its_results_and_nothing_else(device, ledger):
    """GIVEN four tensors WHEN added by foreach THEN four results; in place, none."""
    tensors = [torch.ones(1024, device=device) for _ in range(4)]
    start = ledger.counters().allocated
    ledger.reset_peak()
    torch._foreach_add_(tensors, 1.0)
    assert ledger.counters().peak == start
    sums = torch._foreach_add(tensors, 1.0)
    assert ledger.counters().peak - start == 4 * 4096
    del sums


def test_adam_keeps_two_moments(device, ledger):
    """Is the state of Adam twice the parameters, as on CUDA?"""
    layer = nn.Linear(512, 512, bias=False).to(device)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 512, device=device)).sum().backward()
    optimizer.step()
    size = 512 * 512 * 4
    assert ledger.counters().allocated == 4 * size  # weights, gradients, two moments
    optimizer.zero_grad()
    assert ledger.counters().allocated == 3 * size


def test_a_large_block_counts_whole(device, ledger):
    """Is a 13 MiB + 1 byte tensor counted as 14 MiB, as the caching allocator does?"""
    torch.simgpu.empty_cache()
    start = ledger.counters().allocated
    x = torch.empty((13 << 20) + 1, dtype=torch.uint8, device=device)
    assert ledger.counters().allocated - start == 14 << 20
    del x
