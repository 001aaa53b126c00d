"""Does ``tensor.data = other`` work across devices, as it does between CPU and CUDA?"""

import pytest
import torch
from torch import nn


def test_a_parameter_moves_and_stays_itself(device, allocated):
    """GIVEN an optimizer made earlier WHEN p.data moves there and back THEN both go on, as if nothing happened."""
    parameter = nn.Parameter(torch.ones(3))
    reference = nn.Parameter(torch.ones(3))
    optimizers = [torch.optim.SGD([p], 0.1, momentum=0.9) for p in (parameter, reference)]
    for where in (device, "cpu", device):
        parameter.data = parameter.data.to(where)
        for state in optimizers[0].state.values():
            for value in state.values():
                value.data = value.data.to(where)
        assert parameter.device == torch.device(where) and type(parameter) is nn.Parameter
        for p, optimizer in zip((parameter, reference), optimizers):
            (p**2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(parameter.detach().cpu(), reference.detach())
    torch.testing.assert_close(parameter.grad.cpu(), reference.grad)
    assert allocated() == 3 * 512


def test_a_plain_tensor_moves(device, allocated):
    """Does the old memory go, and does requires_grad stay?"""
    x = torch.ones(1000, device=device)
    x.data = torch.zeros(2)
    assert x.tolist() == [0, 0] and allocated() == 0
    y = torch.ones(2, requires_grad=True)
    y.data = torch.zeros(3, device=device)
    assert y.requires_grad and y.device == device and y.shape == (3,)


def test_within_one_device_nothing_changes(device):
    """Is assigning on the same device PyTorch's own, errors included?"""
    x = torch.ones(3, device=device, requires_grad=True)
    product = x * 2
    x.data = torch.zeros(3, device=device).half()
    assert x.dtype is torch.float16 and x.data.tolist() == [0, 0, 0] and product.tolist() == [2, 2, 2]
    with pytest.raises(TypeError, match="has to be a tensor"):
        x.data = 3


def test_not_under_a_live_graph(device):
    """GIVEN a graph that holds the tensor THEN the error says when it would work."""
    x = torch.ones(3, requires_grad=True)
    product = x * 2
    with pytest.raises(RuntimeError, match="while a graph or a view holds"):
        x.data = x.data.to(device)
    del product
    x.data = x.data.to(device)
    assert x.device == device
