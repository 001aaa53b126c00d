"""Without a GPU: does the CUDA meter read what CUDA would say, and put everything back?

The functions of ``torch.cuda`` that need a driver are stand-ins here; the tests marked cuda use the real ones.
"""

import pytest
import torch

from autograder.simgpu.ledger import LEDGER
from autograder.trace.meters import cuda
from autograder.trace.meters.cuda import CudaMeter
from autograder.trace.meters.storages import StorageLedger
from tests.trace.conftest import SIMGPU


class Driver:
    """A device whose figures are set by hand."""

    def __init__(self):
        self.allocated, self.highest, self.count, self.history = 1000, 1000, 0, []

    def allocate(self, nbytes):
        self.allocated += nbytes
        self.highest = max(self.highest, self.allocated)
        self.count += 1

    def free(self, nbytes):
        self.allocated -= nbytes

    def reset(self, device=None):
        self.highest = self.allocated

    def stats(self, device=None):
        return {
            "allocated_bytes.all.current": self.allocated,
            "reserved_bytes.all.current": 1 << 21,
            "allocation.all.allocated": self.count,
        }


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "memory_stats", driver.stats)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=None: driver.allocated)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: driver.highest)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(cuda, "reset_peak_memory_stats", driver.reset)
    for place in (torch.cuda, torch.cuda.memory):
        monkeypatch.setattr(place, "reset_peak_memory_stats", driver.reset)
    monkeypatch.setattr(torch._C, "_cuda_isHistoryEnabled", lambda: False, raising=False)
    monkeypatch.setattr(
        torch.cuda.memory, "_record_memory_history", lambda enabled="all", **_: driver.history.append(enabled)
    )
    return driver


@pytest.fixture
def meter(driver):
    meter = CudaMeter(torch.device("cuda"), recording=0)
    meter.start()
    yield meter
    meter.stop()


def test_figures_are_cudas_own(driver, meter):
    driver.allocate(4096)
    driver.free(512)
    counters = meter.counters()
    assert (counters.allocated, counters.reserved, counters.peak) == (4584, 1 << 21, 5096)
    assert counters.allocations == 1


def test_a_learners_reset_of_the_peak_hides_nothing(driver, meter):
    driver.allocate(4096)
    driver.free(4096)
    torch.cuda.reset_peak_memory_stats()
    assert meter.counters().peak == 5096
    meter.reset_peak()
    assert meter.counters().peak == 1000


def test_synchronize_is_counted(driver, meter):
    torch.cuda.synchronize()
    torch.cuda.synchronize(0)
    assert meter.counters().syncs == 2


def test_everything_is_put_back(driver):
    names = ("reset_peak_memory_stats", "synchronize")
    before = [getattr(torch.cuda, name) for name in names]
    meter = CudaMeter(torch.device("cuda"), recording=0)
    meter.start()
    assert torch.cuda.synchronize is not before[1]
    meter.stop()
    assert [getattr(torch.cuda, name) for name in names] == before
    assert driver.history == ["all", None]


def test_an_index_is_chosen_when_none_is_given(driver):
    assert CudaMeter(torch.device("cuda"), recording=0).device == torch.device("cuda", 0)


def test_host_tensors_are_not_booked(driver, meter):
    kept = torch.zeros(100)
    assert kept is not None
    assert meter.survivors() == []


READS = {
    "tolist": lambda x, host: x.tolist(),
    "item": lambda x, host: x[0].item(),
    "if": lambda x, host: bool(x[0] > 0),
    "cpu": lambda x, host: x.cpu(),
    "to the device": lambda x, host: host.to(x.device),
    "to the device, small, non_blocking": lambda x, host: host.to(x.device, non_blocking=True),
    "copy_": lambda x, host: x.copy_(host),
    "on the device": lambda x, host: x + 1,
}


@pytest.mark.parametrize("name", READS)
def test_the_watcher_of_operators_counts_what_the_device_itself_counts(name):
    """GIVEN the books that stand for CUDA's, kept of the simulated GPU THEN its own ledger has the same copies and waits."""
    x, host = torch.ones(100, device=SIMGPU), torch.ones(100)
    with StorageLedger("simgpu") as books:
        before, own_before = books.transfers.totals(), LEDGER.counters(0)
        READS[name](x, host)
        watched = [after - then for then, after in zip(before, books.transfers.totals())]
        own = LEDGER.counters(0)
    columns = ("h2d_count", "h2d_bytes", "d2h_count", "d2h_bytes", "syncs")
    assert watched == [getattr(own, column) - getattr(own_before, column) for column in columns]
