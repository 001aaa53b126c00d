"""What is copied, and what makes the host wait?"""

import warnings

import pytest
import torch
from torch import nn


def masked_assignment(x):
    x[x > 0] = 0.0


WAITS = {
    "item": (1, lambda x: x.sum().item()),
    "float": (1, lambda x: float(x[0])),
    "if": (1, lambda x: bool((x > 0).any())),
    "tolist": (1, lambda x: x.tolist()),
    "cpu": (1, lambda x: x.cpu()),
    "cpu, non-blocking": (0, lambda x: x.to("cpu", non_blocking=True)),
    "new tensor": (1, lambda x: torch.tensor([1.0], device=x.device)),
    "to device": (1, lambda x: torch.ones(3).to(x.device)),
    "pinned, non-blocking": (0, lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True)),
    "pinned, blocking": (1, lambda x: torch.ones(3).pin_memory().to(x.device)),
    "pageable, non-blocking": (1, lambda x: torch.ones(16_385).to(x.device, non_blocking=True)),
    "64 KB of pageable memory, non-blocking": (0, lambda x: torch.ones(16_384).to(x.device, non_blocking=True)),
    "64 KB of pageable memory, copy_": (0, lambda x: x.new_empty(16_384).copy_(torch.ones(16_384), non_blocking=True)),
    "64 KB of pageable memory, blocking": (1, lambda x: torch.ones(16_384).to(x.device)),
    "nothing, blocking": (0, lambda x: torch.ones(0).to(x.device)),
    "into pageable, non-blocking": (1, lambda x: torch.ones(10).copy_(x, non_blocking=True)),
    "into pinned, non-blocking": (0, lambda x: torch.ones(10).pin_memory().copy_(x, non_blocking=True)),
    "from pinned, copy_": (0, lambda x: x.copy_(torch.ones(10).pin_memory(), non_blocking=True)),
    "on the device, blocking": (0, lambda x: x.clone().copy_(x)),
    "nonzero": (1, lambda x: x.nonzero()),
    "mask": (1, lambda x: x[x > 0]),
    "masked_select": (1, lambda x: x.masked_select(x > 0)),
    "masked assignment": (0, masked_assignment),
    "masked_fill": (0, lambda x: x.masked_fill(x > 0, 0.0)),
    "where": (0, lambda x: torch.where(x > 0, x, 0)),
    "unique": (1, lambda x: x.unique()),
    "equal": (1, lambda x: torch.equal(x, x)),
    "allclose": (1, lambda x: torch.allclose(x, x)),
    "topk": (0, lambda x: x.topk(2)),
    "arithmetic": (0, lambda x: (x * 2.0 + 1).sum()),
    "device index": (0, lambda x: x[x.argsort()]),
    "host index": (1, lambda x: x[torch.tensor([1, 2])]),
    "host mask": (0, lambda x: x[torch.ones(10, dtype=torch.bool)]),
    "assignment by a host index": (1, lambda x: x.index_put_((torch.tensor([1]),), x[:1].clone())),
    "assignment by a host mask": (0, lambda x: x.index_put_((torch.ones(10, dtype=torch.bool),), x.clone())),
    "repeats of unknown length": (1, lambda x: x.repeat_interleave(torch.full((10,), 2, device=x.device))),
    "repeats of a told length": (0, lambda x: x.repeat_interleave(torch.full((10,), 2, device=x.device), output_size=20)),
    "clip": (0, lambda x: nn.utils.clip_grad_norm_([nn.Parameter(x)], 1.0)),
    "synchronize": (1, lambda x: torch.simgpu.synchronize()),
}


@pytest.mark.parametrize("name", WAITS)
def test_waits(name, device, ledger):
    """How often does the host wait for each of these?"""
    expected, operation = WAITS[name]
    x = torch.randn(10, device=device)
    before = ledger.counters().syncs
    operation(x)
    assert ledger.counters().syncs - before == expected


def test_printing_waits(device, ledger):
    """Does printing a tensor make the host wait?"""
    x = torch.randn(10, device=device)
    before = ledger.counters().syncs
    repr(x)
    assert ledger.counters().syncs > before


COPIES = {
    "float64 to device": ((1, 80, 0, 0), lambda x: torch.ones(10, dtype=torch.float64).to(x.device)),
    "with a cast": ((1, 40, 0, 0), lambda x: torch.ones(10).to(x.device, torch.float16)),
    "copy_ in": ((1, 40, 0, 0), lambda x: x.copy_(torch.ones(10))),
    "copy_ out": ((0, 0, 1, 40), lambda x: torch.ones(10).copy_(x)),
    "cpu": ((0, 0, 1, 20), lambda x: x[:5].cpu()),
    "positions of a host mask": ((1, 24, 0, 0), lambda x: x[torch.arange(10) < 3]),
    "on the device": ((0, 0, 0, 0), lambda x: x.clone().half()),
    "module": ((2, 24, 0, 0), lambda x: nn.Linear(2, 2).to(x.device)),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies(name, device, ledger):
    """How many copies each way, and how many bytes?"""
    expected, operation = COPIES[name]
    x = torch.randn(10, device=device)
    before = ledger.counters()[4:8]
    operation(x)
    after = ledger.counters()[4:8]
    assert tuple(b - a for a, b in zip(before, after)) == expected


def test_sync_debug_mode_warns_at_the_learners_line(device, ledger):
    """GIVEN mode "warn" WHEN .item() is called THEN one warning points at this file."""
    x = torch.ones(1, device=device)
    torch.simgpu.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x.item()
        x + 1
    assert [str(warning.message) for warning in caught] == ["called a synchronizing CUDA operation"]
    assert caught[0].filename == __file__


def test_sync_debug_mode_raises(device, ledger):
    """GIVEN mode "error" THEN a wait raises, and 0 turns it off again."""
    x = torch.ones(1, device=device)
    torch.simgpu.set_sync_debug_mode(2)
    assert torch.simgpu.get_sync_debug_mode() == 2
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        x.item()
    torch.simgpu.set_sync_debug_mode("default")
    assert x.item() == 1
    with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
        torch.simgpu.set_sync_debug_mode("loud")


NOT_CAUGHT = {
    "synchronize": lambda x: torch.simgpu.synchronize(),
    "a stream's synchronize": lambda x: torch.simgpu.current_stream().synchronize(),
    "pageable, non-blocking": lambda x: torch.ones(16_385).to(x.device, non_blocking=True),
    "into pageable, non-blocking": lambda x: torch.ones(10).copy_(x, non_blocking=True),
}


@pytest.mark.parametrize("name", NOT_CAUGHT)
def test_waits_that_the_sync_debug_mode_does_not_catch(name, device, ledger):
    """GIVEN mode "error" WHEN the host waits where PyTorch does not know of it THEN a wait is counted, none refused."""
    x = torch.ones(10, device=device)
    torch.simgpu.set_sync_debug_mode("error")
    before = ledger.counters().syncs
    NOT_CAUGHT[name](x)
    assert ledger.counters().syncs == before + 1


CAUGHT = {name: operation for name, (count, operation) in WAITS.items() if count and name not in NOT_CAUGHT}


@pytest.mark.parametrize("name", CAUGHT)
def test_waits_that_the_sync_debug_mode_catches(name, device, ledger):
    """GIVEN mode "error" THEN every other wait raises."""
    x = torch.ones(10, device=device)
    torch.simgpu.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        CAUGHT[name](x)
    torch.simgpu.set_sync_debug_mode("default")
