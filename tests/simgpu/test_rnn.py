"""Do recurrent networks in every form agree with the CPU, forward and backward?"""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.simgpu.conftest import DEVICE

LENGTHS = torch.tensor([5, 4, 2, 1])


def run(network, inputs, packed):
    """Results and gradients of one pass; inputs are (batch, time, features) if batch_first."""
    inputs = inputs.requires_grad_()
    batch_first = network.batch_first
    fed = pack_padded_sequence(inputs, LENGTHS, batch_first=batch_first) if packed else inputs
    torch.manual_seed(3)
    output, state = network(fed)
    if packed:
        output, _ = pad_packed_sequence(output, batch_first=batch_first)
    states = state if isinstance(state, tuple) else (state,)
    (output.sum() + sum((s * s).sum() for s in states)).backward()
    return [output, *states, inputs.grad, *[p.grad for p in network.parameters()]]


def compare(kind, packed=False, **options):
    network = kind(6, 8, **options)
    twin = copy.deepcopy(network).to(DEVICE)
    inputs = torch.randn(4, 5, 6) if network.batch_first else torch.randn(5, 4, 6)
    expected, actual = run(network, inputs.clone(), packed), run(twin, inputs.to(DEVICE), packed)
    for one, other in zip(expected, actual):
        torch.testing.assert_close(other.detach().cpu(), one.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind, projection", [(nn.RNN, 0), (nn.GRU, 0), (nn.LSTM, 0), (nn.LSTM, 3)])
def test_every_form(kind, projection, device):
    """Layers, directions, batch order, packed or not, bias or not: all 32 combinations."""
    extra = {"proj_size": projection} if projection else {}
    for layers, both_ways, batch_first, packed, bias in itertools.product((1, 2), *[(False, True)] * 4):
        compare(
            kind,
            packed,
            num_layers=layers,
            bidirectional=both_ways,
            batch_first=batch_first,
            bias=bias,
            **extra,
        )


def test_dropout_between_layers(device, cpu_randomness):
    """Are the same units dropped when the random numbers are the same?"""
    compare(nn.LSTM, num_layers=2, bidirectional=True, dropout=0.3)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_single_cells(kind, device):
    """Do cells used by hand agree?"""
    cell = kind(6, 8)
    inputs = torch.randn(4, 6)
    expected = cell(inputs)
    actual = copy.deepcopy(cell).to(device)(inputs.to(device))
    for one, other in zip(expected, actual):
        torch.testing.assert_close(other.cpu(), one)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_cudnn_s_networks_cannot_be_differentiated_twice(kind, device):
    """Does the second derivative say what cuDNN's says (derivatives.yaml, kCudnnDoubleBackwardMsg), and the first work?"""
    module, x = kind(2, 3).to(device), torch.ones(4, 1, 2, device=device, requires_grad=True)
    (grad,) = torch.autograd.grad(module(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="please disable the CuDNN backend temporarily"):
        torch.autograd.grad(grad.sum(), x)
