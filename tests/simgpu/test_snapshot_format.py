"""Snapshots have torch's format: its own tools read them."""

import json
import pickle

import pytest

pytest.importorskip("torch")
from torch.cuda import _memory_viz as viz

from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator, OutOfMemory
from autograder.simgpu.snapshot import take_snapshot
from autograder.simgpu.timeline import Timeline

MiB = 1 << 20


def here():
    return [
        {"filename": "lesson.py", "line": 7, "name": "step"},
        {"filename": "lesson.py", "line": 9, "name": "<module>"},
    ]


def program(expandable=False, max_entries=1000):
    """Blocks kept, freed and reused in both pools, a release, and a failure; two blocks stay."""
    allocator = CachingAllocator(200 * MiB, settings=AllocatorSettings(expandable_segments=expandable))
    allocator.record_history(True, max_entries, here)
    kept = [allocator.malloc(3 * MiB), allocator.malloc(1000)]
    for size in (5 * MiB, 30 * MiB, 700, 12 * MiB):
        allocator.free(allocator.malloc(size))
    with pytest.raises(OutOfMemory):
        allocator.malloc(190 * MiB)
    return allocator, kept


@pytest.fixture(params=[False, True], ids=["segments", "expandable"])
def snapshot(request):
    return program(request.param)[0].snapshot()


def test_do_torchs_pages_take_it(snapshot):
    for page in (
        viz.trace_plot(snapshot),
        viz.trace_plot(snapshot, filter_freed=True),
        viz.trace_plot(snapshot, plot_segments=True),
        viz.segment_plot(snapshot),
    ):
        assert page.lstrip().startswith("<!DOCTYPE html>")


def test_do_torchs_summaries_take_it(snapshot):
    def as_is(lines, flamegraph_script=None):
        return lines

    in_use = f"active_allocated;lesson.py:9:<module>;lesson.py:7:step {3 * MiB}"
    assert in_use in viz.memory(snapshot, format_flamegraph=as_is)
    assert in_use in viz.segments(snapshot, format_flamegraph=as_is)
    assert viz.compare(snapshot["segments"], snapshot["segments"], format_flamegraph=as_is) == ""
    assert "total_reserved: 22.0MiB\ntotal_allocated: 3.0MiB" in viz.segsum(snapshot)


def test_does_torchs_text_trace_follow_a_history():
    allocator, _ = program()
    text = viz.trace(allocator.snapshot())
    for line in ("b = a[0:3.0MiB]", "cudaFree(f) # 30.0MiB", "raise OutOfMemoryError # 190.0MiB requested"):
        assert line in text


def test_it_survives_a_pickle_and_json(snapshot):
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    json.dumps(snapshot)


def test_segments_and_blocks_add_up(snapshot):
    for segment in snapshot["segments"]:
        blocks = segment["blocks"]
        used = [block for block in blocks if block["state"] == "active_allocated"]
        assert segment["total_size"] == sum(block["size"] for block in blocks)
        assert segment["allocated_size"] == segment["active_size"] == sum(block["size"] for block in used)
        assert segment["requested_size"] == sum(block["requested_size"] for block in used)
        place = segment["address"]
        for block in blocks:
            assert block["address"] == place
            place += block["size"]
    starts = [segment["address"] for segment in snapshot["segments"]]
    assert starts == sorted(starts)


def test_what_is_in_use_is_there_with_its_frames():
    allocator, kept = program()
    blocks = [block for segment in allocator.snapshot()["segments"] for block in segment["blocks"]]
    used = {block["address"]: block for block in blocks if block["state"] == "active_allocated"}
    assert {block.address: block.requested for block in kept} == {
        address: block["requested_size"] for address, block in used.items()
    }
    assert all(block["frames"] == here() for block in used.values())
    idle = [block for block in blocks if block["state"] == "inactive"]
    assert [(block["requested_size"], block["frames"]) for block in idle] == [(0, [])] * (len(blocks) - 2)


def test_a_segment_knows_who_made_it_until_it_is_split():
    """As on CUDA: what is split off keeps it, so that a snapshot shows it of whole segments alone."""
    allocator = CachingAllocator(200 * MiB)
    allocator.record_history(True, frames=here)
    whole, part = allocator.malloc(30 * MiB), allocator.malloc(3 * MiB)
    assert [segment["frames"] for segment in allocator.snapshot()["segments"]] == [here(), []]
    allocator.free(part)
    allocator.free(whole)
    assert [segment["frames"] for segment in allocator.snapshot()["segments"]] == [here(), []]
    assert allocator.malloc(40 * MiB).segment_stacks is not None


def test_the_history_tells_the_story():
    """A segment comes before the block in it; a free is requested and completed; the failure has no address."""
    allocator, _ = program()
    events = allocator.snapshot()["device_traces"][0]
    actions = [event["action"] for event in events]
    assert actions[-1] == "oom" and allocator.snapshot()["device_traces"][0][-1]["action"] == "snapshot"
    assert actions[:4] == ["segment_alloc", "alloc", "segment_alloc", "alloc"]
    assert actions[4:7] == ["alloc", "free_requested", "free_completed"]
    failure = next(event for event in events if event["action"] == "oom")
    assert failure["device_free"] == allocator.free_bytes
    assert "addr" not in failure
    assert failure["size"] == 190 * MiB
    assert events[1]["size"] == 3 * MiB
    assert events[1]["frames"] == events[5]["frames"] == here()
    times = [event["time_us"] for event in events]
    assert times == sorted(times)


def test_mapping_and_unmapping_are_told_too():
    allocator, _ = program(expandable=True)
    actions = {event["action"] for event in allocator.snapshot()["device_traces"][0]}
    assert {"segment_map", "segment_unmap"} <= actions
    assert "segment_alloc" not in actions


def test_the_history_is_bounded():
    allocator, _ = program(max_entries=5)
    events = allocator.snapshot()["device_traces"][0]
    assert len(events) == 5
    assert events[-1]["action"] == "oom"


def test_actions_can_be_left_out():
    allocator = CachingAllocator(200 * MiB)
    allocator.record_history(True, skipped=["free_requested", "segment_alloc"])
    allocator.free(allocator.malloc(1))
    assert [event["action"] for event in allocator.snapshot()["device_traces"][0]] == [
        "alloc", "free_completed",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="found 'nothing'"):
        allocator.record_history(True, skipped=["nothing"])


def test_do_torchs_pages_take_several_devices_and_blocks_that_wait():
    timeline = Timeline()
    allocators = [CachingAllocator(200 * MiB, device=device, timeline=timeline) for device in range(2)]
    for allocator in allocators:
        allocator.record_history(True, frames=here)
        block = allocator.malloc(3 * MiB, stream=1)
        allocator.record_stream(block, 2)
        allocator.free(block)
    snapshot = take_snapshot(allocators)
    for page in (viz.trace_plot(snapshot), viz.segment_plot(snapshot)):
        assert page.lstrip().startswith("<!DOCTYPE html>")
    assert [segment["device"] for segment in snapshot["segments"]] == [0, 1]
    assert "active_pending_free" in json.dumps(snapshot["segments"])
    assert [len(trace) for trace in snapshot["device_traces"]] == [3, 3]


def test_a_history_can_be_resized_stopped_and_cleared():
    allocator, _ = program()
    allocator.record_history(True, 3)
    assert len(allocator.history.entries) == 3
    allocator.record_history(True, 3, clear=True)
    assert len(allocator.history.entries) == 0
    assert allocator.records_history
    allocator.record_history(False)
    allocator.malloc(1)
    assert allocator.snapshot()["device_traces"] == [[]]
    assert not allocator.records_history


def test_the_settings_are_in_it():
    text = "roundup_power2_divisions:[1:2,>:4],max_split_size_mb:64"
    allocator = CachingAllocator(200 * MiB, device=1, settings=AllocatorSettings.parse(text))
    snapshot = allocator.snapshot()
    settings = snapshot["allocator_settings"]
    assert (settings["PYTORCH_CUDA_ALLOC_CONF"], settings["max_split_size"]) == (text, 64 * MiB)
    assert (settings["roundup_power2_divisions"]["1"], settings["roundup_power2_divisions"]["32768"]) == (2, 4)
    assert snapshot["device_traces"] == [[], []], "one list per device, up to this one"
