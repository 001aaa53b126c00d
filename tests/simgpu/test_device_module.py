"""Does torch.simgpu answer as torch.cuda does?"""

import pickle

import pytest
import torch
from torch import nn

from autograder.units import MiB


def test_memory_functions(device, capacity):
    """GIVEN one tensor of 3 MiB THEN allocated, reserved, peak and free say so."""
    gpu = torch.get_device_module(device)
    assert gpu is torch.simgpu
    capacity(64 * MiB)
    gpu.reset_peak_memory_stats()
    x = torch.empty(3 * MiB, dtype=torch.uint8, device=device)
    assert gpu.memory_allocated() == gpu.memory_allocated(device) == 3 * MiB
    assert gpu.memory_reserved() == gpu.max_memory_reserved() == 20 * MiB
    assert gpu.mem_get_info() == (44 * MiB, 64 * MiB)
    assert gpu.get_device_properties(device).total_memory == 64 * MiB
    del x
    assert gpu.memory_allocated() == 0 and gpu.max_memory_allocated() == 3 * MiB
    gpu.empty_cache()
    assert gpu.memory_reserved() == 0
    gpu.reset_peak_memory_stats()
    assert gpu.max_memory_allocated() == 0


def test_statistics_and_summary(device):
    """Do memory_stats and memory_summary have CUDA's keys and table?"""
    x = torch.ones(1000, device=device)
    stats = torch.simgpu.memory_stats()
    assert stats["allocated_bytes.all.current"] == 4096
    assert stats["requested_bytes.all.current"] == 4000
    assert torch.simgpu.memory_stats_as_nested_dict()["allocated_bytes"]["all"]["current"] == 4096
    assert "| Allocated memory      |   4096 B" in torch.simgpu.memory_summary()
    assert len(torch.simgpu.memory_summary(abbreviated=True)) < len(torch.simgpu.memory_summary())
    torch.simgpu.reset_accumulated_memory_stats()
    assert torch.simgpu.memory_stats()["allocated_bytes.all.allocated"] == 0
    del x


def test_memory_fraction(device, capacity):
    """Does set_per_process_memory_fraction limit the device, and refuse nonsense?"""
    capacity(64 * MiB)
    torch.simgpu.set_per_process_memory_fraction(0.5)
    try:
        with pytest.raises(torch.OutOfMemoryError, match="32.00 MiB allowed"):
            torch.empty(40 * MiB, dtype=torch.uint8, device=device)
    finally:
        torch.simgpu.set_per_process_memory_fraction(1.0)
    with pytest.raises(ValueError, match="Invalid fraction value"):
        torch.simgpu.set_per_process_memory_fraction(2.0)


def test_accelerator_api(device):
    """Does torch.accelerator find the device and its memory?"""
    x = torch.ones(1000, device=device)
    accelerator = torch.accelerator
    assert accelerator.current_accelerator() == torch.device("simgpu")
    assert accelerator.memory_allocated() == 4096
    assert accelerator.memory_stats()["allocated_bytes.all.current"] == 4096
    assert accelerator.max_memory_allocated() >= 4096
    assert accelerator.memory_reserved() == torch.simgpu.memory_reserved()
    assert accelerator.get_memory_info() == torch.simgpu.mem_get_info()
    accelerator.reset_peak_memory_stats()
    assert accelerator.max_memory_allocated() == 4096
    accelerator.synchronize()
    accelerator.empty_cache()
    del x


def test_random_numbers_are_the_devices_own(device):
    """GIVEN one seed THEN the device repeats itself, and does not disturb the CPU's numbers."""
    torch.manual_seed(0)
    first, on_cpu = torch.randn(5, device=device), torch.randn(5)
    torch.manual_seed(0)
    torch.testing.assert_close(torch.randn(5), on_cpu)
    torch.testing.assert_close(torch.randn(5, device=device), first)
    state = torch.simgpu.get_rng_state()
    once = nn.functional.dropout(torch.ones(100, device=device))
    torch.simgpu.set_rng_state(state)
    torch.testing.assert_close(nn.functional.dropout(torch.ones(100, device=device)), once)
    with torch.random.fork_rng(device_type="simgpu"):
        torch.simgpu.manual_seed(7)
    torch.simgpu.set_rng_state(state)
    torch.testing.assert_close(nn.functional.dropout(torch.ones(100, device=device)), once)


def test_streams_and_events(device):
    """Does code written for streams run?"""
    start, end = torch.simgpu.Event(enable_timing=True), torch.simgpu.Event(enable_timing=True)
    stream = torch.simgpu.Stream()
    start.record()
    with torch.simgpu.stream(stream), torch.simgpu.device(0):
        x = torch.ones(3, device=device)
        x.record_stream(stream)
    torch.simgpu.current_stream().wait_stream(stream)
    end.record()
    torch.simgpu.synchronize()
    assert start.elapsed_time(end) >= 0 and end.query()
    assert torch.simgpu.current_stream().device == device
    assert torch.simgpu.current_stream() == torch.simgpu.default_stream() != stream and stream.query()


@pytest.fixture
def snapshot(device, tmp_path):
    """A snapshot of two training steps with history, read back from its file."""
    memory = torch.simgpu.memory
    memory._record_memory_history(max_entries=10_000)
    layer = nn.Linear(64, 64).to(device)
    optimizer = torch.optim.Adam(layer.parameters())
    for _ in range(2):
        layer(torch.randn(8, 64, device=device)).sum().backward()
        optimizer.step()
    memory._dump_snapshot(str(tmp_path / "snapshot.pickle"))
    memory._record_memory_history(enabled=None)
    return pickle.loads((tmp_path / "snapshot.pickle").read_bytes())


def test_snapshot_opens_in_the_memory_viewer(snapshot):
    """Is the file accepted by every view of torch.cuda._memory_viz?"""
    from torch.cuda import _memory_viz

    for page in (_memory_viz.trace_plot(snapshot), _memory_viz.segment_plot(snapshot)):
        assert "<script" in page
    assert "TOTAL MEM" in _memory_viz.trace(snapshot)
    assert "segment" in _memory_viz.segsum(snapshot).lower()
    assert torch.simgpu.memory_snapshot() == torch.simgpu.memory._snapshot()["segments"]


def test_snapshot_names_the_callers_line(snapshot):
    """Do the recorded frames begin outside the simulation, and reach this file?"""
    (events,) = snapshot["device_traces"]
    allocations = [event for event in events if event["action"] == "alloc"]
    assert len(allocations) > 20
    assert all("autograder/simgpu" not in event["frames"][0]["filename"] for event in allocations if event["frames"])
    assert any(frame["filename"] == __file__ for event in allocations for frame in event["frames"])
