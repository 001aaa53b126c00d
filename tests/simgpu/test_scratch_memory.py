"""What CUDA's kernels take beside their results, where the source says how much: SoftMax.cu, Indexing.cu, Blas.cpp."""

import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autograder.simgpu import workspaces

ROWS, WIDTH = 256, 512
COUNT = ROWS * WIDTH


def passing(function, ledger, *arguments):
    """Bytes that a call needed for a moment, above its results."""
    ledger.counters()
    before = ledger.counters().allocated
    ledger.reset_peak()
    results = function(*arguments)
    after = ledger.counters()
    del results
    return after.peak - max(after.allocated, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_of_a_training_step_with_softmax(dtype, device, ledger):
    """GIVEN x, softmax, mean WHEN backward THEN 5 times x at the peak (pytorch/pytorch#72450: 15,099,495,424 B)."""
    ledger.reset_peak()
    x = torch.rand(ROWS, WIDTH, dtype=dtype, device=device, requires_grad=True)
    torch.softmax(x, dim=-1).mean().backward()
    size = COUNT * dtype.itemsize
    assert ledger.counters().peak // size == 5 and ledger.counters().peak % size < 4 * 512


@pytest.mark.parametrize("width", [512, 2048])
@pytest.mark.parametrize(
    "name, sizes", [("softmax", 1), ("log_softmax", 0), ("cross entropy", 0), ("masked softmax", None)]
)
def test_what_backward_takes(name, sizes, width, device, ledger):
    """GIVEN a gradient in one piece THEN softmax's backward takes grad * output, log-softmax's nothing."""
    x = torch.rand(64, width, device=device)
    grad, output = torch.rand_like(x), x.softmax(1)
    size = x.numel() * 4
    if (
        name == "masked softmax"
    ):  # a fast kernel up to 1024; else masked_fill, and softmax's backward into a second place
        mask = torch.zeros(64, width, dtype=torch.bool, device=device)
        found = passing(lambda: torch.ops.aten._masked_softmax_backward(grad, output, mask, 1), ledger)
        assert found == size * (1 if width <= 1024 else 3)
    elif name == "cross entropy":
        target = torch.zeros(64, dtype=torch.long, device=device)
        x.requires_grad_()
        loss = F.cross_entropy(x, target)
        before = ledger.counters().allocated
        ledger.reset_peak()
        loss.backward()
        assert ledger.counters().peak - before <= 2 * size + 512  # of the scores, and of the log-probabilities
    else:
        operator = getattr(torch.ops.aten, f"_{name}_backward_data")
        assert passing(lambda: operator(grad, output, 1, torch.float32), ledger) == sizes * size


def test_operands_in_several_pieces_are_copied(device, ledger):
    """GIVEN transposed or expanded operands THEN a contiguous copy of each (host_softmax, host_softmax_backward)."""
    x = torch.rand(WIDTH, ROWS, device=device)
    size = COUNT * 4
    assert passing(lambda: x.softmax(1), ledger) == 0
    assert passing(lambda: x.t().softmax(1), ledger) == size
    assert passing(lambda: x.t().log_softmax(1), ledger) == size
    one = torch.ones((), device=device)
    backward = torch.ops.aten._log_softmax_backward_data
    assert passing(lambda: backward(one.expand(WIDTH, ROWS), x, 1, torch.float32), ledger) == size


def test_nothing_takes_nothing(device, ledger):
    """GIVEN an empty tensor THEN no memory for a moment either."""
    x = torch.rand(0, WIDTH, device=device)
    assert passing(lambda: torch.ops.aten._softmax_backward_data(x, x, 1, torch.float32), ledger) == 0
    assert passing(lambda: x.softmax(1), ledger) == 0


def test_eager_attention(device, ledger):
    """GIVEN attention written out WHEN backward THEN the product is one more (queries x keys) matrix at its peak."""
    q = torch.rand(1, 2, 256, 8, device=device, requires_grad=True)
    square = 2 * 256 * 256 * 4
    weights = (q @ q.transpose(-2, -1)).softmax(-1)
    result = weights @ q
    del weights
    before = ledger.counters().allocated
    ledger.reset_peak()
    result.sum().backward()
    peak = ledger.counters().peak - before
    assert 3 * square <= peak < 3.3 * square  # the weights' gradient, grad * output, the scores' gradient


def test_a_put_that_accumulates_sorts(device, ledger):
    """GIVEN n indices WHEN gradients are put back THEN four lists of n: linear, a range, and both sorted."""
    x = torch.rand(1000, 8, device=device)
    index = torch.zeros(4096, dtype=torch.long, device=device)
    values = torch.rand(4096, 8, device=device)
    assert passing(lambda: x.index_put_((index,), values, accumulate=True), ledger) == 4 * 4096 * 8
    assert passing(lambda: x.index_put_((index,), values), ledger) == 0
    one = torch.ones(1, device=device)
    assert passing(lambda: x.index_put_((index,), one, accumulate=True), ledger) == 4 * 4096 * 8 + 4096 * 8 * 4


def test_group_norm(device, ledger):
    """GIVEN 8 samples, 256 channels, 16 groups THEN 2 numbers per channel forward, 3 and 2 per group backward."""
    x, weight = torch.rand(8, 256, 16, device=device), torch.ones(256, device=device)
    channels, groups = 8 * 256 * 4, 8 * 16 * 4
    statistics = 2 * groups  # kept for backward, or let go of
    assert passing(lambda: F.group_norm(x, 16), ledger) == statistics
    assert passing(lambda: F.group_norm(x, 16, weight, weight), ledger) == statistics + 2 * channels
    _, mean, rstd = torch.native_group_norm(x, weight, weight, 8, 256, 16, 16, 1e-5)
    backward = torch.ops.aten.native_group_norm_backward
    arguments = (x, x, mean, rstd, weight, 8, 256, 16, 16, [True] * 3)
    assert passing(lambda: backward(*arguments), ledger) == 3 * channels + 2 * groups


# --- cuBLASLt
@pytest.fixture
def counting():
    """Workspaces counted, and given back afterwards."""
    workspaces.enable(True)
    yield
    workspaces.enable(False)


def product(rows, inner, columns, dtype=torch.float32, **options):
    def run(device):
        first, second = (torch.ones(*shape, device=device, dtype=dtype) for shape in ((rows, inner), (inner, columns)))
        return torch.addmm(torch.ones(columns, device=device, dtype=dtype), first, second, **options)

    return run


BOTH, CUBLAS, NONE = 2, 1, 0
PRODUCTS = {
    "a layer": (product(4, 8, 8), BOTH),
    "halves": (product(4, 8, 8, torch.bfloat16), BOTH),
    "one column (pytorch/pytorch#95668)": (product(4, 8, 1), CUBLAS),
    "one input": (product(4, 1, 8), CUBLAS),
    "one row": (product(1, 8, 8), CUBLAS),
    "all of them one": (product(1, 1, 1), CUBLAS),
    "complex": (product(4, 8, 8, torch.complex64), CUBLAS),
    "a scaled bias": (product(4, 8, 8, beta=2.0), CUBLAS),
    "a bias of two dimensions": (lambda d: torch.addmm(*[torch.ones(8, 8, device=d)] * 3), CUBLAS),
    "a bias to be expanded": (
        lambda d: torch.addmm(torch.ones(1, device=d), *[torch.ones(8, 8, device=d)] * 2),
        CUBLAS,
    ),
    "a bias with gaps": (
        lambda d: torch.addmm(torch.ones(16, device=d)[::2], *[torch.ones(8, 8, device=d)] * 2),
        CUBLAS,
    ),
    "no bias": (lambda d: torch.ones(8, 8, device=d) @ torch.ones(8, 8, device=d), CUBLAS),
    "no rows": (product(0, 8, 8), NONE),
    "nothing to add up": (product(4, 0, 8), NONE),
    "no bias, nothing": (lambda d: torch.ones(0, 8, device=d) @ torch.ones(8, 8, device=d), NONE),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_which_libraries_a_product_asks(name, device, allocated, counting):
    """GIVEN isInputCompliesAddmmCudaLt in Blas.cpp THEN which workspaces are taken?"""
    operation, wanted = PRODUCTS[name]
    result = operation(device)
    del result
    size, lt = workspaces.chosen_size(), workspaces.chosen_lt_size()
    assert allocated() == (0, size, size + lt)[wanted]


def test_a_linear_layer_of_one_by_one(device, allocated, counting):
    """GIVEN nn.Linear(1, 1) THEN 8,519,680 bytes beside four small blocks, as pytorch/pytorch#95668 prints."""
    layer = nn.Linear(1, 1, device=device)
    result = layer(torch.randn(1, 1, device=device))
    small = 4 * 512  # weight, bias, result, and the input that backward needs
    assert allocated() == 8_519_680 + small and result is not None


def test_lt_can_be_turned_off(device, allocated, counting, monkeypatch):
    """GIVEN DISABLE_ADDMM_CUDA_LT=1 THEN cuBLAS alone."""
    monkeypatch.setitem(os.environ, "DISABLE_ADDMM_CUDA_LT", "1")
    result = product(4, 8, 8)(device)
    del result
    assert allocated() == workspaces.chosen_size()
