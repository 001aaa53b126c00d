"""Transformer fast paths, embedding gradients, cuBLAS workspaces: is what they take what CUDA takes?"""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autograder.simgpu import workspaces
from tests.simgpu.conftest import DEVICE

MiB = 1 << 20


# --- which operators are reached: PyTorch itself is the oracle, through fake CUDA tensors, which need no GPU
class Reached(TorchDispatchMode):
    """Notes each operator below autograd with the types and shapes of its results."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        if operator is not torch.ops.prim.device.default:
            tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            self.calls.append((str(operator), [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]))
        return result


def labels(x, *shape):
    return torch.zeros(*shape, dtype=torch.long, device=x.device)


def like(x, *shape):
    return torch.ones(shape, dtype=x.dtype, device=x.device)


REACHED = {
    "layer_norm": (lambda x: F.layer_norm(x, (64,)), (8, 64)),
    "group_norm": (lambda x: F.group_norm(x, 4), (8, 64)),
    "instance_norm": (F.instance_norm, (8, 4, 64)),
    "batch_norm, evaluated": (lambda x: F.batch_norm(x, like(x, 64), like(x, 64)), (8, 64)),
    "dropout": (lambda x: F.dropout(x, 0.5), (8, 64)),
    "dropout2d": (lambda x: F.dropout2d(x, 0.5), (8, 4, 4, 4)),
    "cross_entropy": (lambda x: F.cross_entropy(x, labels(x, 8)), (8, 64)),
    "cross_entropy of pictures": (lambda x: F.cross_entropy(x, labels(x, 8, 4)), (8, 64, 4)),
    "label smoothing": (lambda x: F.cross_entropy(x, labels(x, 8), label_smoothing=0.1), (8, 64)),
    "linear over sequences": (lambda x: F.linear(x, like(x, 32, 64), like(x, 32)), (2, 40, 64)),
    "matmul": (lambda x: x @ like(x, 64, 4), (8, 4, 64, 64)),
    "einsum": (lambda x: torch.einsum("bij,bjk->bik", x, x), (8, 16, 16)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (8, 4, 8, 8)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 2), (8, 4, 8, 8)),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (8, 4, 8, 8)),
    "embedding": (lambda x: F.embedding(labels(x, 8, 4), x), (8, 64)),
    "gumbel_softmax": (F.gumbel_softmax, (8, 64)),
    "std": (torch.std, (8, 64)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_operators_that_cuda_reaches(dtype, device):
    """GIVEN a function WHEN called without gradients THEN the same operators give the same types and shapes."""
    different = {}
    with torch.no_grad():
        for name, (function, shape) in REACHED.items():
            with FakeTensorMode(), Reached() as on_cuda:
                function(torch.empty(shape, dtype=dtype, device="cuda"))
            x = torch.randn(shape).to(device, dtype)
            with Reached() as here:
                function(x)
            if on_cuda.calls[1:] != here.calls:  # the first makes the operand
                different[name] = f"{here.calls}\n  CUDA: {on_cuda.calls[1:]}"
    assert not different, "\n".join(f"{name}: {what}" for name, what in different.items())


# --- transformer fast paths
def encoder(norm_first, activation):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first, activation=activation)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first).eval()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_evaluated_encoder_agrees_with_the_cpu(norm_first, activation, device):
    """Does the fast path give the CPU's numbers, without a mask, with padding, with a causal mask?"""
    assert torch.backends.mha.get_fastpath_enabled()
    network = encoder(norm_first, activation)
    twin = copy.deepcopy(network).to(device)
    x, causal = torch.randn(3, 8, 32), torch.ones(8, 8, dtype=torch.bool).triu(1)
    for options in ({}, {"mask": causal}):
        with torch.no_grad():
            expected = network(x, **options)
            actual = twin(x.to(device), **{name: mask.to(device) for name, mask in options.items()})
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-4, atol=1e-5)
    padding = torch.zeros(3, 8, dtype=torch.bool)
    padding[0, 5:] = True
    with torch.no_grad():
        actual = twin(x.to(device), src_key_padding_mask=padding.to(device)).cpu()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            expected = network(x, src_key_padding_mask=padding)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    torch.testing.assert_close(actual[~padding], expected[~padding], rtol=1e-4, atol=1e-5)


def test_the_fast_path_keeps_no_square_matrix(device, ledger):
    """GIVEN no weights asked for THEN the peak stays far below one (queries x keys) matrix per head."""
    length, width, heads = 256, 32, 4
    attention = nn.MultiheadAttention(width, heads, batch_first=True).to(device).eval()
    x = torch.randn(1, length, width, device=device)
    with torch.no_grad():
        before = ledger.counters().allocated
        ledger.reset_peak()
        output, weights = attention(x, x, x, need_weights=False)
    assert weights is None and output.shape == x.shape
    assert ledger.counters().peak - before < heads * length * length * 4 // 2


# --- embedding
def test_what_the_gradient_of_an_embedding_takes(device, ledger):
    """GIVEN 4,096 tokens of 50 words THEN beside the gradient: four index lists, and 459 partial sums of each column."""
    words, width, tokens = 50, 64, 4096
    indices = torch.randint(0, words, (tokens,), device=device)
    grad = torch.ones(tokens, width, device=device)
    before = ledger.counters().allocated
    ledger.reset_peak()
    result = torch.ops.aten.embedding_dense_backward(grad, indices, words, -1, False)
    parts = tokens // 10 + words
    small = [1 * 8, words * 8, words * 8, 1 * 8, parts * 8, parts * width * 4, words * width * 4]
    expected = 3 * tokens * 8 + sum(-(-size // 512) * 512 for size in small)
    assert ledger.counters().peak - before == expected
    assert result.sum().item() == tokens * width


# --- workspaces
@pytest.fixture
def counting():
    """Workspaces counted, and given back afterwards."""
    workspaces.enable(True)
    yield
    workspaces.enable(False)


@pytest.mark.parametrize(
    "config, capability, size",
    [
        ("", (8, 0), 8_519_680),
        ("", (9, 0), 32 * MiB),
        (":4096:8", (8, 0), 32 * MiB),
        (":16:8", (9, 0), 128 << 10),
        (":4096:2:16:8", (9, 0), 8_519_680),
        ("nonsense", (8, 0), 8_519_680),
    ],
)
def test_the_size_of_a_workspace(config, capability, size):
    """CublasHandlePool.cpp: parseChosenWorkspaceSize. 8,519,680 is what pytorch/pytorch#95668 reports."""
    assert workspaces.chosen_size(config, capability) == size


def test_workspaces_are_off_unless_asked_for(device, allocated):
    """Does a matrix product cost its result only?"""
    x = torch.ones(4, 4, device=device)
    before = allocated()
    y = x @ x
    assert allocated() - before == 512 and y is not None


def test_one_workspace_per_thread_and_stream(device, allocated, counting):
    """GIVEN products, one with a bias, backward, and another thread THEN each handle takes its workspace once."""
    layer = nn.Linear(8, 8).to(device)
    x = torch.ones(4, 8, device=device)
    size, lt = workspaces.chosen_size(), workspaces.chosen_lt_size()
    before = allocated()
    x.mm(x.t())
    assert allocated() - before == size
    layer(x)
    layer(x)
    assert allocated() - before == size + lt
    layer(x).sum().backward()  # autograd's thread has a handle of its own
    layer.zero_grad()
    assert allocated() - before == 2 * size + lt
    for _ in range(2):  # a handle goes back to the pool with its thread, and the next thread takes it
        thread = threading.Thread(target=lambda: x.mm(x.t()))
        thread.start()
        thread.join()
    assert allocated() - before == 3 * size + lt
    torch.simgpu.clear_cublas_workspaces()
    assert allocated() == before


def test_dropout_between_recurrent_layers_takes_a_state(device, allocated, counting):
    """GIVEN nn.LSTM with dropout THEN cuDNN's generator state is kept, once."""
    network = nn.LSTM(8, 8, 2, dropout=0.5).to(device)
    before = allocated()
    for _ in range(2):
        network(torch.ones(3, 2, 8, device=device))
    assert allocated() - before == workspaces.dropout_state_size() == 108 * 2048 * 24
    assert torch.device(DEVICE).type == "simgpu"
