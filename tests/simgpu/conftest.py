"""The simulated GPU, registered as soon as tests are collected: a torch device must exist before the first backward."""

import gc

import pytest

from autograder import simgpu

DEVICE = simgpu.enable()


@pytest.fixture
def device():
    """The device, asserting afterwards that the test left nothing on it."""
    from autograder.simgpu.ledger import LEDGER

    before = _settled(LEDGER, 0)
    yield DEVICE
    assert _settled(LEDGER, before) == before, "the test left memory on the device"


def _settled(ledger, expected):
    """Bytes allocated now; garbage is collected (slow after PyTorch's databases were loaded) only if they differ."""
    if ledger.counters().allocated != expected:
        gc.collect()
    return ledger.counters().allocated


@pytest.fixture
def ledger():
    """The live ledger, with its watcher and sync mode put back afterwards."""
    from autograder.simgpu.ledger import LEDGER

    yield LEDGER
    LEDGER.watch(None)
    LEDGER.sync_mode = 0


@pytest.fixture
def allocated(ledger):
    """A question: how many bytes are allocated now?"""
    return lambda: ledger.counters().allocated


@pytest.fixture
def capacity(ledger):
    """A setter of the device's capacity in bytes; put back afterwards, with an empty cache."""
    import torch

    torch.simgpu.empty_cache()
    before = ledger.allocator.capacity
    yield torch.simgpu.set_capacity
    torch.simgpu.set_capacity(before)
    torch.simgpu.empty_cache()


@pytest.fixture
def cpu_randomness():
    """Let the device draw the CPU's random numbers, so that results can be compared one by one."""
    from autograder.simgpu import randomness

    with randomness.shared_with_cpu():
        yield
