"""Numbers that C++ hands over as themselves, modules that move, modules of ours that are asked for unknown names."""

import unittest
import warnings

import pytest
import torch
from torch import nn

import autograder
from autograder import plots
from autograder.simgpu import compat


# --- numbers
@pytest.mark.parametrize("number", [1.5, 2, True, float("inf"), 3 + 4j], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.complex64])
def test_copy_takes_a_number(number, dtype, device):
    """GIVEN a Python number WHEN copied into a tensor THEN the same values as on the CPU."""
    if isinstance(number, complex) and not dtype.is_complex or number == float("inf") and dtype is torch.int64:
        pytest.skip("nothing to compare")
    expected = torch.zeros(2, dtype=dtype).copy_(number)
    assert torch.equal(torch.zeros(2, dtype=dtype, device=device).copy_(number).cpu(), expected)


def test_a_number_keeps_its_precision(device):
    """GIVEN float64 THEN 0.1 arrives as 0.1, not as float32's."""
    assert torch.zeros((), dtype=torch.float64, device=device).copy_(0.1).item() == 0.1


FILLS = {
    "fill_ with a number's tensor": lambda x: x.fill_(torch.tensor(2.0)),
    "assignment to a slice": lambda x: x.__setitem__(slice(0, 1), 2.0),
    "assignment by index": lambda x: x.__setitem__(torch.tensor([0]), 2.0),
    "assignment by mask": lambda x: x.__setitem__(x > 0, 2.0),
    "masked_fill_": lambda x: x.masked_fill_(x > 0, torch.tensor(2.0)),
    "index_fill_": lambda x: x.index_fill_(0, torch.zeros(1, dtype=torch.long, device=x.device), 2.0),
    "where": lambda x: torch.where(x > 0, x, 2.0),
    "_copy_from": lambda x: torch.ops.aten._copy_from(torch.tensor(2.0), x),
    "gradient": lambda x: x.copy_(float("inf")),
}


@pytest.mark.parametrize("name", FILLS)
def test_other_ways_to_fill(name, device):
    """GIVEN ways in which a number, or a CPU tensor of one, reaches a kernel THEN values as on the CPU."""
    mine, theirs = torch.ones(3, device=device), torch.ones(3)
    FILLS[name](mine)
    if name != "_copy_from":  # other devices only
        FILLS[name](theirs)
        assert torch.equal(mine.cpu(), theirs)
    else:
        assert mine.tolist() == [2.0, 2.0, 2.0]


def test_an_empty_tensor_has_no_number(device):
    """GIVEN no elements THEN item() says so as CUDA's kernel does."""
    with pytest.raises(RuntimeError):
        torch.empty(0, device=device).item()
    with pytest.raises(RuntimeError, match="Empty tensor not supported"):
        torch.ops.aten._local_scalar_dense(torch.empty(0, device=device))


# --- modules that move
def trained():
    """A layer with gradients on the CPU, its weight and its gradient."""
    layer = nn.Linear(3, 3)
    layer(torch.ones(1, 3)).sum().backward()
    return layer, layer.weight, layer.weight.grad


@pytest.fixture
def conversions():
    """torch.__future__, its switches put back."""
    yield torch.__future__
    torch.__future__.set_overwrite_module_params_on_conversion(False)
    torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_parameters_and_gradients_keep_their_identity(overwrite, conversions, device):
    """GIVEN the switch WHEN moved there, halved and back THEN new objects each time if set, else the same ones."""
    conversions.set_overwrite_module_params_on_conversion(overwrite)
    layer, weight, grad = trained()
    for convert in (lambda: layer.to(device), layer.half, layer.cpu):
        convert()
        assert (layer.weight is weight) is not overwrite
        assert (layer.weight.grad is grad) is not overwrite
        weight, grad = layer.weight, layer.weight.grad
        assert weight.grad.device == weight.device and weight.grad.dtype == weight.dtype
    assert isinstance(layer.weight, nn.Parameter) and layer.weight.requires_grad


def test_the_tensors_left_behind_stay_where_they_were(conversions, device):
    """GIVEN overwriting WHEN moved THEN the old weight and its gradient are still on the CPU."""
    conversions.set_overwrite_module_params_on_conversion(True)
    layer, weight, grad = trained()
    layer.to(device)
    assert weight.is_cpu and grad.is_cpu and weight.grad is grad


def test_swapping_keeps_identity(conversions, device):
    """GIVEN the other switch THEN the same objects, as torch.utils.swap_tensors leaves them."""
    conversions.set_swap_module_params_on_conversion(True)
    layer, weight, grad = trained()
    layer.to(device)
    assert layer.weight is weight and layer.weight.grad is grad and weight.device == grad.device == device


def test_swapping_is_refused_while_something_else_holds_a_parameter(conversions, device):
    """GIVEN the switch and a weak reference WHEN moved THEN torch's own refusal."""
    import weakref

    conversions.set_swap_module_params_on_conversion(True)
    layer = nn.Linear(3, 3)
    held = weakref.ref(layer.weight)
    with pytest.raises(RuntimeError, match="_apply\\(\\): Couldn't swap Linear.weight"):
        layer.to(device)
    assert held() is layer.weight


# --- unknown names
@pytest.mark.parametrize("module", [compat, autograder, plots], ids=lambda module: module.__name__)
def test_an_unknown_name_is_an_attribute_error(module):
    """GIVEN modules with a __getattr__ of their own THEN hasattr() and getattr() with a default work."""
    assert not hasattr(module, "__warningregistry__x")
    assert getattr(module, "no_such_name", None) is None


def test_assert_warns_works_beside_the_device(device):
    """GIVEN unittest, which asks every module for its warnings THEN it finds the one that was given."""

    class Case(unittest.TestCase):
        def test(self):
            with self.assertWarns(UserWarning):
                warnings.warn("x", stacklevel=1)

    result = unittest.TestResult()
    Case("test").run(result)
    assert not result.errors and not result.failures
