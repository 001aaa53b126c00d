"""Does each operator keep between forward and backward what CUDA's kernel keeps? Each row cites where that is written.

What an operator saves is read through PyTorch's saved-tensor hooks; operands and the result are left out where they are
saved too, because their memory is counted anyway. derivatives.yaml ships in the wheel (torchgen/packaged/autograd).
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from autograder.simgpu import rnn
from tests.simgpu.conftest import DEVICE

HALVES = [torch.float16, torch.bfloat16]
FLOAT, BYTE, LONG = 4, 1, 8
BATCH, CHANNELS, LENGTH, WIDTH = 6, 8, 40, 16


def saved_bytes(operation, *operands):
    """Sizes of what backward keeps beside operands and results, smallest first. (Detached: a result that its own node
    keeps through a hook would be a circle.)"""
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = operation(*operands)
    results = result if isinstance(result, tuple) else (result,)
    for known in (*operands, *results):
        kept.pop(known.untyped_storage().data_ptr(), None)
    return sorted(size for size in kept.values() if size)


def given(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=torch.float32).to(DEVICE, dtype).requires_grad_()


def channels(dtype=torch.float32):
    return given(CHANNELS, dtype=dtype)


# (source, operation, operands, saved sizes in bytes)
def rows():
    image = (BATCH, CHANNELS, 5, 5)
    tokens = (BATCH, LENGTH, WIDTH)
    stats, per_row = [CHANNELS * FLOAT] * 2, BATCH * LENGTH * FLOAT
    for half in HALVES:
        name = str(half)[6:]
        yield (f"layer_norm {name}", "cuda/layer_norm_kernel.cu: mean and rstd in toAccumulateType",
               lambda x: F.layer_norm(x, (WIDTH,)), (given(*tokens, dtype=half),), [per_row] * 2)  # fmt: skip
        yield (f"batch_norm {name}", "cuda/Normalization.cu batch_norm_cuda: save_mean, save_invstd in float32",
               lambda x: F.batch_norm(x, None, None, None, None, True), (given(*image, dtype=half),), stats)  # fmt: skip
        yield (f"instance_norm {name}", "cuda/Normalization.cu, with batch * channels planes",
               F.instance_norm, (given(*image, dtype=half),), [BATCH * CHANNELS * FLOAT] * 2)  # fmt: skip
        yield (f"group_norm {name}", "native/group_norm.cpp: mean and rstd in the input's type",
               lambda x: F.group_norm(x, 2), (given(*image, dtype=half),), [BATCH * 2 * 2] * 2)  # fmt: skip
        yield (f"rms_norm {name}", "derivatives.yaml _fused_rms_norm: input, weight, rstd (float32)",
               lambda x, w: F.rms_norm(x, (WIDTH,), w), (given(*tokens, dtype=half), given(WIDTH, dtype=half)),
               [per_row])  # fmt: skip
    yield ("layer_norm", "derivatives.yaml native_layer_norm: input, mean, rstd, weight, bias",
           lambda x: F.layer_norm(x, (WIDTH,)), (given(*tokens),), [per_row] * 2)  # fmt: skip
    yield ("rms_norm", "derivatives.yaml _fused_rms_norm",
           lambda x: F.rms_norm(x, (WIDTH,)), (given(*tokens),), [per_row])  # fmt: skip
    yield ("batch_norm by cuDNN", "cudnn/BatchNorm.cpp: save_mean, save_var; the reserve is empty for NCHW",
           lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (given(*image), channels(), channels()),
           stats)  # fmt: skip
    yield ("batch_norm evaluated by cuDNN", "cudnn/BatchNorm.cpp: empty statistics, running ones are saved",
           evaluated_norm, (given(*image), channels(), channels()), stats)  # fmt: skip
    yield ("batch_norm evaluated without cuDNN", "cuda/Normalization.cu batch_norm_cuda: always allocates both",
           lambda x: evaluated_norm(x, None, None), (given(*image),), stats * 2)  # fmt: skip
    yield ("dropout", "native_dropout in cuda/Dropout.cu: a mask of one byte per element",
           lambda x: F.dropout(x, 0.5), (given(*tokens),), [BATCH * LENGTH * WIDTH * BYTE])  # fmt: skip
    yield ("cross_entropy", "derivatives.yaml _log_softmax, nll_loss_forward: log-probabilities, targets, total_weight",
           lambda x: F.cross_entropy(x, targets()), (given(BATCH, WIDTH),),
           [FLOAT, BATCH * LONG, BATCH * WIDTH * FLOAT])  # fmt: skip
    yield "softmax", "derivatives.yaml _softmax: the result", lambda x: x.softmax(-1), (given(*tokens),), []
    for name, operation in (("gelu", F.gelu), ("silu", F.silu), ("relu", F.relu), ("tanh", torch.tanh)):
        yield name, f"derivatives.yaml {name}: input or result", operation, (given(*tokens),), []
    yield ("embedding", "derivatives.yaml embedding: indices",
           lambda w: F.embedding(torch.zeros(BATCH, LENGTH, dtype=torch.long, device=DEVICE), w),
           (given(9, WIDTH),), [BATCH * LENGTH * LONG])  # fmt: skip
    yield ("conv2d", "derivatives.yaml cudnn_convolution: input and weight",
           F.conv2d, (given(*image), given(4, CHANNELS, 3, 3), given(4)), [])  # fmt: skip
    yield ("max_pool2d", "derivatives.yaml max_pool2d_with_indices: input and indices (int64)",
           lambda x: F.max_pool2d(x, 2), (given(BATCH, CHANNELS, 4, 4),), [BATCH * CHANNELS * 4 * LONG])  # fmt: skip


def evaluated_norm(x, weight, bias):
    running = [torch.ones(CHANNELS, device=DEVICE) for _ in range(2)]
    return F.batch_norm(x, *running, weight, bias)


def targets():
    return torch.zeros(BATCH, dtype=torch.long, device=DEVICE)


def test_saved_bytes_as_cudas_kernel_saves_them(device):
    """GIVEN each row's operator WHEN run forward THEN it keeps the cited tensors, to the byte."""
    wrong = {}
    for name, source, operation, operands, expected in rows():
        found = saved_bytes(operation, *operands)
        if found != sorted(expected):
            wrong[name] = f"{found}, expected {sorted(expected)} ({source})"
    del operation, operands
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


MEASURED = {"lstm": 736_000_000, "gru": 864_000_000}


@pytest.mark.parametrize("kind", MEASURED)
def test_the_reserve_formula_gives_the_published_sizes(kind):
    """Does the formula for cuDNN's reserve give the bytes printed in pytorch/pytorch#2895, for 25,000 cells?"""
    assert rnn.reserve_size(kind, 25_000, 320, 4, 1, 320, 4) == MEASURED[kind]


@pytest.mark.parametrize("module", [nn.LSTM, nn.GRU])
def test_a_recurrent_network_keeps_input_states_output_and_reserve(module, device):
    """GIVEN two layers both ways WHEN trained THEN one node keeps the reserve beside operands and results."""
    network = module(WIDTH, CHANNELS, 2, bidirectional=True).to(device)
    inputs = given(LENGTH, BATCH, WIDTH)
    state = torch.zeros(4, BATCH, CHANNELS, device=device)
    hx = (state, state) if module is nn.LSTM else state
    kind = module.__name__.lower()
    reserve = rnn.reserve_size(kind, LENGTH * BATCH, CHANNELS, 2, 2, CHANNELS, FLOAT)
    found = saved_bytes(lambda x, *_: network(x, hx)[0], inputs, state, *network.parameters())
    assert found == [reserve]
    output = network.eval()(inputs, hx)[0]
    with pytest.raises(RuntimeError, match="only be called in training mode"):
        output.sum().backward()


def test_without_cudnn_a_recurrent_network_is_unrolled(device):
    """GIVEN torch.backends.cudnn off THEN each step keeps its four gates three times: before, from both sides, and
    after (derivatives.yaml _thnn_fused_lstm_cell: input_gates, hidden_gates, workspace)."""
    network = nn.LSTM(WIDTH, CHANNELS).to(device)
    inputs = given(LENGTH, BATCH, WIDTH)
    with torch.backends.cudnn.flags(enabled=False):
        found = saved_bytes(lambda x, *_: network(x)[0], inputs, *network.parameters())
    gates = BATCH * 4 * CHANNELS * FLOAT
    assert found.count(gates) == 3 * LENGTH


def test_gradients_of_recurrent_weights_share_one_buffer(device):
    """Are they views of one buffer, as _cudnn_rnn_backward_weight makes them?"""
    network = nn.GRU(WIDTH, CHANNELS, 2).to(device)
    network(given(LENGTH, BATCH, WIDTH))[0].sum().backward()
    assert len({p.grad.untyped_storage().data_ptr() for p in network.parameters()}) == 1
