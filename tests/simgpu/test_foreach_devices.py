"""Do foreach operators take lists over several devices, one tensor after the other, as CUDA's slow way does?"""

import pytest
import torch

OPERATORS = {
    "a number": lambda tensors: torch._foreach_mul(tensors, 3.0),
    "lists": lambda tensors: torch._foreach_add(tensors, tensors, alpha=2.0),
    "in place": lambda tensors: torch._foreach_sub_([tensor.clone() for tensor in tensors], tensors),
    "one operand": lambda tensors: torch._foreach_sqrt(tensors),
    "norms": lambda tensors: torch._foreach_norm(tensors),
    "a number each": lambda tensors: torch._foreach_div(tensors, [2.0, 4.0]),
    "three lists": lambda tensors: torch._foreach_addcmul(tensors, tensors, tensors, value=2.0),
    "lerp": lambda tensors: torch._foreach_lerp(tensors, tensors, 0.5),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_each_stays_on_its_device(name, device):
    """Is each result where its operand is, with the same values as on the CPU?"""
    tensors = [torch.full((2, 2), 4.0), torch.full((3,), 9.0)]
    expected = OPERATORS[name](tensors)
    results = OPERATORS[name]([tensors[0], tensors[1].to(device)])
    assert [result.device.type for result in results] == ["cpu", device.type]
    for result, right in zip(results, expected):
        assert torch.equal(result.cpu(), right)


def test_operands_of_one_step_must_agree(device):
    """Is a pair on two devices refused as the operator for single tensors refuses it?"""
    with pytest.raises(RuntimeError, match="on the same device"):
        torch._foreach_add([torch.ones(2), torch.ones(2, device=device)], [torch.ones(2), torch.ones(2)])


def test_copies_cross_devices(device):
    """_foreach_copy_ of lists on different devices is a copy of each."""
    there = torch.zeros(2, device=device)
    torch._foreach_copy_([there, torch.zeros(1)], [torch.ones(2), torch.ones(1, device=device)])
    assert there.tolist() == [1, 1]


def test_foreach_add_wants_its_number_on_the_device(device):
    """mul and div read a number of the host; add refuses it on the fast way (ForeachBinaryOpScalarTensor.cu)."""
    tensors, number = [torch.ones(2, device=device)], torch.tensor(2.0)
    with pytest.raises(RuntimeError, match="scalar tensor expected to be on .* but is on cpu"):
        torch._foreach_add(tensors, number, alpha=1.0)
    with pytest.raises(RuntimeError, match="scalar tensor is expected to be on .* but is on cpu"):
        torch._foreach_add_(tensors, number, alpha=1.0)
    assert torch._foreach_mul(tensors, number)[0].tolist() == [2, 2]
    assert torch._foreach_add(tensors, number.double(), alpha=1.0)[0].tolist() == [3, 3]
    assert torch._foreach_add(tensors, number.to(device), alpha=1.0)[0].tolist() == [3, 3]
