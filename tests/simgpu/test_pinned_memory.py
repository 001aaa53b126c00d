"""Is pinned host memory known as such, wherever PyTorch can make it?"""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from autograder.simgpu.host_allocator import HostAllocator
from autograder.units import KiB

MADE = {
    "empty": lambda **o: torch.empty(3, **o),
    "zeros": lambda **o: torch.zeros(3, **o),
    "ones": lambda **o: torch.ones(3, **o),
    "full": lambda **o: torch.full((3,), 2.0, **o),
    "rand": lambda **o: torch.rand(3, **o),
    "randn": lambda **o: torch.randn(3, **o),
    "randint": lambda **o: torch.randint(9, (3,), **o),
    "randperm": lambda **o: torch.randperm(3, **o),
    "arange": lambda **o: torch.arange(3, **o),
    "tensor": lambda **o: torch.tensor([1, 2, 3], **o),
    "empty_like": lambda **o: torch.empty_like(torch.ones(3), **o),
    "empty_strided": lambda **o: torch.empty_strided((3,), (1,), **o),
}


@pytest.mark.parametrize("name", MADE)
def test_factories_pin(name, device):
    """GIVEN pin_memory=True THEN pinned; without it, not; on the device, PyTorch's refusal."""
    assert MADE[name](pin_memory=True).is_pinned()
    assert not MADE[name]().is_pinned() and not MADE[name](pin_memory=False).is_pinned()
    with pytest.raises(RuntimeError, match="Only dense CPU tensors can be pinned"):
        MADE[name](pin_memory=True, device=device)


def test_pinned_copies_and_views(device):
    """Do values, views, storages and gradients' flags survive pinning, and is what is pinned not pinned again?"""
    x = torch.arange(6.0)
    pinned = x.pin_memory()
    assert torch.equal(pinned, x) and not x.is_pinned()
    assert pinned.pin_memory() is pinned and pinned[2:].is_pinned() and pinned.view(2, 3).t().is_pinned()
    assert pinned.untyped_storage().is_pinned() and x.untyped_storage().pin_memory().is_pinned()
    assert not (pinned + 1).is_pinned() and not pinned.clone().is_pinned()
    assert torch.ones(3, pin_memory=True, requires_grad=True).is_leaf
    assert not pinned.to(device).is_pinned()
    with pytest.raises(RuntimeError, match="cannot pin"):
        x.to(device).pin_memory()


def test_from_the_device_without_waiting_is_pinned(device):
    """GIVEN x.to("cpu", non_blocking=True) THEN the result is in pinned memory, as PyTorch makes it; else it is not."""
    x = torch.arange(3.0, device=device)
    result = x.to("cpu", non_blocking=True)
    assert result.is_pinned() and result.tolist() == [0, 1, 2]
    assert not x.cpu().is_pinned()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_that_pins(workers, device, ledger):
    """GIVEN DataLoader(pin_memory=True) THEN its batches are pinned, and moving them does not make the host wait."""
    data = TensorDataset(torch.arange(8.0), torch.arange(8))
    pinning = DataLoader(data, batch_size=4, pin_memory=True, num_workers=workers)
    before = ledger.counters().syncs
    for inputs, targets in pinning:
        assert inputs.is_pinned() and targets.is_pinned()
        inputs.to(device, non_blocking=True)
    assert ledger.counters().syncs == before
    assert not any(inputs.is_pinned() for inputs, _ in DataLoader(data, batch_size=4))


def test_replaced_factories_are_still_torchs(device):
    """Do set_default_device, torch.device contexts and torch.jit know the replaced factories?"""

    def program(x: torch.Tensor):
        return torch.zeros([2]) + x

    assert torch.jit.script(program)(torch.ones(2)).tolist() == [1, 1]
    with torch.device(device):
        assert torch.zeros(2).device == torch.tensor([1]).device == device
        assert torch.empty_like(torch.zeros(2, device="cpu")).device.type == "cpu"
    assert torch.empty.__name__ == "empty"


def test_statistics(device):
    """Do the figures follow a pinned tensor from birth to death, rounded up to a power of two?"""
    before = torch.simgpu.host_memory_stats()
    x = torch.empty(100 * KiB, dtype=torch.uint8, pin_memory=True)
    during = torch.simgpu.host_memory_stats()
    del x
    after = torch.simgpu.host_memory_stats()
    assert during["active_bytes.current"] - before["active_bytes.current"] == 128 * KiB
    assert during["active_requests.allocated"] - before["active_requests.allocated"] == 1
    assert after["active_bytes.current"] == before["active_bytes.current"]
    assert after["allocated_bytes.current"] == during["allocated_bytes.current"]
    torch.accelerator.empty_host_cache()
    emptied = torch.simgpu.host_memory_stats()
    assert emptied["allocated_bytes.current"] == emptied["active_bytes.current"]


def test_the_host_allocator_caches_by_size():
    """GIVEN blocks freed WHEN as many bytes, rounded up, are wanted again THEN they are used again; else new ones."""
    allocator = HostAllocator()
    block = allocator.malloc(5000)
    assert block.size == 8192 and allocator.malloc(0) is None and allocator.malloc(4096).size == 4096
    del block
    again, other = allocator.malloc(8192), allocator.malloc(8193)
    stats = allocator.stats()
    assert (stats["num_host_alloc"], stats["allocations.current"], stats["active_requests.current"]) == (3, 3, 2)
    assert stats["allocated_bytes.current"] == 8192 + 4096 + 16384
    assert stats["active_bytes.peak"] == 8192 + 16384
    del again, other
    allocator.empty_cache()
    allocator.reset_peak()
    stats = allocator.stats()
    assert stats["num_host_free"] == 3 and stats["allocated_bytes.freed"] == 8192 + 4096 + 16384
    assert stats["active_bytes.peak"] == stats["allocated_bytes.current"] == 0
    allocator.reset_accumulated()
    assert not any(allocator.stats().values())
