"""Can a trace be read, shown and opened elsewhere?"""

import pickle

import pytest
import torch
from torch.cuda import _memory_viz

from autograder.errors import RecordError


@pytest.fixture
def trace(record, device):
    kept = []
    yield record(lambda: kept.append(torch.zeros(300_000, device=device)), label="two & a half <steps>")
    kept.clear()


def test_the_snapshot_opens_in_pytorchs_viewer(trace, tmp_path):
    path = tmp_path / "trace.pickle"
    trace.dump(path)
    snapshot = pickle.loads(path.read_bytes())
    assert "alloc" in {event["action"] for event in snapshot["device_traces"][0]}
    assert len(_memory_viz.trace_plot(snapshot)) > 1000
    assert len(_memory_viz.segment_plot(snapshot)) > 1000
    assert "MiB" in _memory_viz.segsum(snapshot)
    assert "TOTAL MEM" in _memory_viz.trace(snapshot)


def test_the_snapshot_names_the_learners_line(trace):
    events = trace.snapshot()["device_traces"][0]
    assert any(frame["filename"] == __file__ for event in events for frame in event["frames"])


def test_the_snapshot_holds_what_is_live(trace):
    blocks = [block for segment in trace.snapshot()["segments"] for block in segment["blocks"]]
    live = [block for block in blocks if block["state"] == "active_allocated" and block["requested_size"] == 1_200_000]
    assert len(live) == 23


def test_a_running_recording_has_no_snapshot(record):
    with record() as trace, pytest.raises(RecordError, match="after the `with` block"):
        trace.snapshot()


def test_a_history_that_the_learner_keeps_goes_on(device, record):
    if device.type == "cpu":
        pytest.skip("the CPU ledger has no history of its own")
    memory = torch.get_device_module(device).memory
    memory._record_memory_history()
    try:
        record(lambda: torch.zeros(10, device=device))
        before = len(memory._snapshot()["device_traces"][0])
        torch.zeros(10, device=device)
        assert len(memory._snapshot()["device_traces"][0]) > before
    finally:
        memory._record_memory_history(enabled=None)


def test_a_trace_reads_as_a_table(trace):
    lines = repr(trace).splitlines()
    assert "20 steps after 3 of warm-up" in lines[0]
    assert lines[1].split()[:4] == ["step", "allocated", "reserved", "peak"]
    assert lines[-2].split()[0] == "22"
    assert lines[-1].startswith("slope ")
    assert "per step, growth " in lines[-1]
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert len(lines) < 15


def test_a_trace_is_shown_as_html_that_escapes_its_title(trace):
    html = trace._repr_html_()
    assert html.count("<tr>") == 11
    assert "two &amp; a half &lt;steps&gt;" in html


def test_a_trace_says_what_it_watched(trace, device):
    assert trace.source == device.type
    assert trace.simulated is (device.type == "simgpu")
    assert ("simulated GPU" in repr(trace)) is trace.simulated
    assert trace.device.type == device.type


def test_columns_are_arrays_over_all_steps(trace):
    assert trace.allocated.shape == trace.h2d_bytes.shape == (23,)
    assert (trace.peak >= trace.allocated).all()
    assert (trace.reserved >= trace.allocated).all()
