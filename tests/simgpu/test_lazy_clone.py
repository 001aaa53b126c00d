"""Tensor._lazy_clone(): what is allocated, and when? (c10/core/impl/COW.cpp, test_torch.py: test_lazy_clone...)"""

import pytest
import torch

from autograder.simgpu.lazy_clone import BORROWERS

COUNT = 1 << 18
SIZE = COUNT * 4


@pytest.fixture
def two(device, allocated):
    """A tensor of ones, its lazy clone, and a question: how many sizes are allocated?"""
    found = [torch.ones(COUNT, device=device)]
    found += [found[0]._lazy_clone(), lambda: allocated() / SIZE]
    yield found
    found.clear()
    assert not BORROWERS


def test_it_costs_nothing_until_written_to(two):
    """GIVEN a lazy clone WHEN read, viewed and computed with THEN one size; the two share an address."""
    tensor, clone, sizes = two
    assert sizes() == 1
    assert torch.equal(tensor, clone) and clone.view(2, -1).sum().item() == COUNT
    assert sizes() == 1 and torch._C._is_cow_tensor(tensor) and torch._C._is_cow_tensor(clone)
    assert torch._C._data_address(tensor) == torch._C._data_address(clone)
    assert torch._C._storage_address(tensor) != torch._C._storage_address(clone)
    two.clear()


WRITES = {
    "in place": lambda x: x.add_(1),
    "through a view": lambda x: x.view(2, -1).add_(1),
    "copy_": lambda x: x.copy_(torch.full((COUNT,), 2.0)),
    "assignment": lambda x: x.__setitem__(slice(None), 2.0),
    "out=": lambda x: torch.add(x, 1, out=x),
    "foreach": lambda x: torch._foreach_add_([x], 1),
    "random numbers": lambda x: x.normal_().fill_(2.0),
}


@pytest.mark.parametrize("first", [0, 1], ids=["the original", "the clone"])
@pytest.mark.parametrize("name", WRITES)
def test_whoever_is_written_to_first_gets_a_copy(name, first, two):
    """GIVEN a write to either side THEN two sizes, the other unchanged at its address; its own write copies nothing."""
    written, other = two[first], two[1 - first]
    sizes, address = two[2], torch._C._data_address(other)
    WRITES[name](written)
    assert sizes() == 2
    assert written[0].item() == 2 and other[0].item() == 1 and other[-1].item() == 1
    assert not torch._C._is_cow_tensor(written)
    other.zero_()
    assert sizes() == 2 and torch._C._data_address(other) == address and written[0].item() == 2
    assert not torch._C._is_cow_tensor(other)
    two.clear()
    del written, other


def test_the_memory_lives_as_long_as_either(two):
    """GIVEN the original gone THEN the clone keeps its memory, and takes it over when written to."""
    sizes = two[2]
    del two[0]
    assert sizes() == 1
    two[0].add_(1)
    assert sizes() == 1 and two[0][0].item() == 2
    two.clear()
    assert sizes() == 0


def test_clones_of_clones(two):
    """GIVEN three that share WHEN each is written to THEN one copy less than there are sharers."""
    tensor, clone, sizes = two
    third = clone._lazy_clone()
    for number, one in enumerate((clone, tensor, third), 2):
        one.mul_(number)
    assert sizes() == 3
    assert [tensor[0].item(), clone[0].item(), third[0].item()] == [3, 2, 4]
    two.clear()
    del tensor, clone, third


def test_a_copy_that_does_not_fit_is_refused(two, capacity):
    """GIVEN a full device WHEN a sharer is written to THEN out of memory, and both keep their values."""
    tensor, clone, _ = two
    capacity(torch.simgpu.memory_reserved())
    filler = []
    while True:
        try:
            filler.append(torch.empty(COUNT, device=tensor.device))
        except torch.OutOfMemoryError:
            break
    with pytest.raises(torch.OutOfMemoryError):
        clone.add_(1)
    del filler
    assert clone[0].item() == tensor[0].item() == 1
    two.clear()


def test_growing_takes_memory_of_its_own(two):
    """GIVEN a sharer WHEN resized THEN the other stays as it is."""
    tensor, clone, _ = two
    tensor.resize_(2 * COUNT)
    tensor.zero_()
    assert clone.sum().item() == COUNT
    two.clear()


def test_gradients_pass(two):
    """GIVEN a lazy clone in a graph THEN the gradient is that of a clone."""
    tensor = two[0].requires_grad_()
    (tensor._lazy_clone() * 3).sum().backward()
    assert tensor.grad[0].item() == 3
    two.clear()
    del tensor


def test_an_optimizer_step_changes_one_of_them(two):
    """GIVEN parameters cloned lazily, as for an average WHEN trained THEN the clone holds the old values."""
    parameter = torch.nn.Parameter(two[0])
    parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD([parameter], lr=1.0).step()
    assert parameter[0].item() == 0 and two[1][0].item() == 1
    two.clear()
    del parameter
