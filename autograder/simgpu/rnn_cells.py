"""The fused LSTM and GRU cells that PyTorch uses on accelerators.

Same saved tensors as the CUDA kernels in ATen/native/cuda/RNN.cu: four gates for LSTM, (r, z, n, x, hn) for GRU.
"""

from __future__ import annotations

import torch

from autograder.simgpu.errors_like_cuda import check_one_device
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap


@kernel("_thnn_fused_lstm_cell")
def lstm_cell(input_gates, hidden_gates, cell, input_bias=None, hidden_bias=None):
    """Returns (hidden, cell, workspace); gates are (batch, 4 * hidden)."""
    check_one_device("_thnn_fused_lstm_cell", input_gates=input_gates, hidden_gates=hidden_gates, cx=cell,
                     input_bias=input_bias, hidden_bias=hidden_bias)  # fmt: skip
    gates = unwrap(input_gates) + unwrap(hidden_gates)
    if input_bias is not None:
        gates = gates + unwrap(input_bias) + unwrap(hidden_bias)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    next_cell = f * unwrap(cell) + i * g
    return wrap(o * next_cell.tanh()), wrap(next_cell), wrap(torch.cat([i, f, g, o], 1))


@kernel("_thnn_fused_lstm_cell_backward_impl")
def lstm_cell_backward(grad_hidden, grad_cell, cell, next_cell, workspace, has_bias):
    """Returns gradients of (gates, cell, bias)."""
    if grad_hidden is None and grad_cell is None:
        return None, None, None
    before, after = unwrap(cell), unwrap(next_cell)
    i, f, g, o = unwrap(workspace).chunk(4, 1)
    grad_h = torch.zeros_like(after) if grad_hidden is None else unwrap(grad_hidden)
    grad_c = torch.zeros_like(after) if grad_cell is None else unwrap(grad_cell)
    t = after.tanh()
    d = grad_h * o * (1 - t * t) + grad_c
    gates = torch.cat([d * g * i * (1 - i), d * before * f * (1 - f), d * i * (1 - g * g), grad_h * t * o * (1 - o)], 1)
    return wrap(gates), wrap(d * f), wrap(gates.sum(0)) if has_bias else None


@kernel("_thnn_fused_gru_cell")
def gru_cell(input_gates, hidden_gates, hidden, input_bias=None, hidden_bias=None):
    """Returns (hidden, workspace); gates are (batch, 3 * hidden)."""
    check_one_device("_thnn_fused_gru_cell", input_gates=input_gates, hidden_gates=hidden_gates, hx=hidden,
                     input_bias=input_bias, hidden_bias=hidden_bias)  # fmt: skip
    from_input, from_hidden, before = unwrap(input_gates), unwrap(hidden_gates), unwrap(hidden)
    if input_bias is not None:
        from_input = from_input + unwrap(input_bias)
        from_hidden = from_hidden + unwrap(hidden_bias)
    input_r, input_z, input_n = from_input.chunk(3, 1)
    hidden_r, hidden_z, hidden_n = from_hidden.chunk(3, 1)
    r = (input_r + hidden_r).sigmoid()
    z = (input_z + hidden_z).sigmoid()
    n = (input_n + r * hidden_n).tanh()
    return wrap(n + z * (before - n)), wrap(torch.cat([r, z, n, before, hidden_n], 1))


@kernel("_thnn_fused_gru_cell_backward")
def gru_cell_backward(grad_hidden, workspace, has_bias):
    """Returns gradients of (input gates, hidden gates, hidden, input bias, hidden bias)."""
    grad = unwrap(grad_hidden)
    r, z, n, before, hidden_n = unwrap(workspace).chunk(5, 1)
    grad_z = grad * (before - n) * z * (1 - z)
    grad_n = grad * (1 - z) * (1 - n * n)
    grad_r = grad_n * hidden_n * r * (1 - r)
    input_gates = torch.cat([grad_r, grad_z, grad_n], 1)
    hidden_gates = torch.cat([grad_r, grad_z, grad_n * r], 1)
    biases = (wrap(input_gates.sum(0)), wrap(hidden_gates.sum(0))) if has_bias else (None, None)
    return wrap(input_gates), wrap(hidden_gates), wrap(grad * z), *biases
