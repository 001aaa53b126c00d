"""Which steps are recorded, what belongs to them, and what a recording leaves behind."""

import weakref

import pytest
import torch

import autograder as ag
from autograder.errors import RecordError
from autograder.trace import last


def block(device, numbers=128):
    return torch.zeros(numbers, device=device)


def test_a_step_is_called_for_warmup_and_measurement(record):
    calls = []
    trace = record(lambda: calls.append(1), steps=5, warmup=2)
    assert len(calls) == 7
    assert [sample.step for sample in trace.samples] == list(range(7))
    assert len(trace.steady) == 5


def test_a_step_may_take_its_number(record):
    seen = []
    record(seen.append, steps=2, warmup=1)
    record(lambda i: seen.append(i), steps=2, warmup=0)
    record(lambda i=9: seen.append(i), steps=1, warmup=0)
    assert seen == [0, 1, 2, 0, 1, 9]


def test_a_loop_inside_a_function_is_recorded(record, device):
    kept = []

    def loop(items):
        for item in items:
            kept.append(item + 1)

    with record(warmup=2) as trace:
        loop(trace.steps(block(device) for _ in range(8)))
    assert len(trace.samples) == 8
    assert trace.slope == 512


def test_a_second_pass_continues_the_count(record):
    with record(warmup=0) as trace:
        items = trace.steps([1, 2, 3])
        assert [item for _ in range(2) for item in items] == [1, 2, 3, 1, 2, 3]
        assert len(items) == 3
        assert items[-1] == 3
    assert [sample.step for sample in trace.samples] == list(range(6))


def test_an_iterator_stays_an_iterator(record):
    with record(warmup=0) as trace:
        items = trace.steps(iter("ab"))
        assert next(items) == "a"
        assert list(items) == ["b"]
    assert len(trace.samples) == 2


def test_a_loop_left_early_keeps_its_last_step(record, device):
    kept = []
    with record(warmup=0) as trace:
        for number in trace.steps(range(10)):
            kept.append(block(device))
            if number == 3:
                break
    assert list(trace.allocated - trace.baseline) == [512, 1024, 1536, 2048]


def test_the_result_is_still_alive_in_the_final_sample(record, device):
    """GIVEN a loop that pulls every item first WHEN it works afterwards THEN growth sees it though no step does."""

    def hoard(items):
        return [block(device) for _ in list(items)]

    with record(warmup=3) as trace:
        kept = hoard(trace.steps(range(10)))
    assert len(kept) == 10
    assert trace.slope == 0.0
    assert trace.growth == trace.final - trace.baseline == 5120
    assert trace.after_loop.allocations == 10
    assert len(trace.leftovers) == 10


def test_preparation_before_the_first_item_is_no_step(record, device):
    with record(warmup=0) as trace:
        scratch = block(device, 100_000)
        del scratch
        running = block(device)
        for _ in trace.steps(range(3)):
            running += 1
    assert trace.peak.max() == trace.baseline + 512
    assert trace.survivors() == []


def test_the_peak_belongs_to_its_step(record, device):
    def step(i):
        scratch = block(device, 128 * (3 - i))
        del scratch

    trace = record(step, steps=3, warmup=0)
    assert list(trace.peak - trace.baseline) == [1536, 1024, 512]


def test_a_step_that_resets_the_statistics_hides_nothing(gpu):
    module = torch.get_device_module(gpu)

    def step():
        scratch = block(gpu, 1024)
        del scratch
        module.reset_peak_memory_stats()
        module.reset_accumulated_memory_stats()

    trace = ag.record(step, device=gpu, steps=3, warmup=0)
    assert list(trace.peak - trace.baseline) == [4096] * 3
    assert gpu.type == "cuda" or list(trace.allocations) == [1] * 3


def test_the_recorder_keeps_no_item_alive(record, device):
    """Does `del x` in the loop free the item, as it would without a recording?"""
    with record(warmup=0) as trace:
        for x in trace.steps(block(device) for _ in range(3)):
            pointer = weakref.ref(x)
            del x
            assert pointer() is None


def test_the_recorder_keeps_no_tensor_alive_afterwards(record, device):
    pointers = []

    def step():
        x = block(device)
        pointers.append(weakref.ref(x))
        return x

    record(step, steps=3)
    assert [pointer() for pointer in pointers] == [None] * 6


def test_survivors_are_those_alive_now_and_leftovers_those_at_the_end(record, device):
    kept = []
    trace = record(lambda: kept.append(block(device)), steps=4, warmup=2)
    assert [survivor.step for survivor in trace.survivors()] == [2, 3, 4, 5]
    assert {survivor.data_ptr for survivor in trace.survivors()} == {tensor.data_ptr() for tensor in kept[2:]}
    del kept[:4]
    assert [survivor.step for survivor in trace.survivors()] == [4, 5]
    assert [survivor.step for survivor in trace.leftovers] == [2, 3, 4, 5]


def test_recordings_do_not_mix(record, device):
    kept = []
    first = record(lambda: kept.append(block(device)), steps=2, warmup=0)
    second = record(lambda: kept.append(block(device)), steps=3, warmup=0)
    assert (len(first.survivors()), len(second.survivors())) == (2, 3)
    assert last() is second


@pytest.mark.parametrize("arguments", [{"steps": 0}, {"warmup": -1}, {"steps": 2.5}], ids=str)
def test_counts_that_measure_nothing_are_refused(record, arguments):
    with pytest.raises(RecordError, match="expects a whole number"):
        record(lambda: None, **arguments)


def test_what_cannot_be_called_is_refused(record):
    with pytest.raises(RecordError, match="something to call, got int"):
        record(3)


def test_one_recording_at_a_time(record):
    with pytest.raises(RecordError, match="already running"):
        record(lambda: record(lambda: None))
    assert len(record(lambda: None).samples) == 23


def test_steps_are_marked_only_while_recording(record):
    trace = record(lambda: None)
    with pytest.raises(RecordError, match="inside `with"):
        trace.steps([1])


def test_one_loop_per_recording(record):
    """GIVEN a loop that is recorded WHEN it asks for steps of its own THEN it cannot pad the trace with them."""
    with record(warmup=0) as trace:
        for _ in trace.steps(range(3)):
            with pytest.raises(RecordError, match="already called in this recording: one recording has one loop"):
                last().steps(range(2000))
    assert len(trace.samples) == 3
    with pytest.raises(RecordError, match="already called"):
        record(lambda: last().steps(range(2000)))


def test_a_trace_cannot_be_changed(record, device):
    kept = []
    trace = record(lambda: kept.append(block(device)), steps=4, warmup=2)
    for name in ("samples", "steady", "leftovers"):
        assert type(getattr(trace, name)) is tuple
    for name in ("warmup", "samples", "final", "slope", "allocated", "error", "title", "invented"):
        with pytest.raises(RecordError, match=f"a trace cannot be changed: `{name}` is what was measured"):
            setattr(trace, name, 0)
    with pytest.raises(RecordError, match="a trace cannot be changed: `warmup`"):
        del trace.warmup
    trace.snapshot().clear()
    trace.survivors().clear()
    trace.allocated[:] = 0
    assert (len(trace.samples), trace.warmup, trace.slope, len(trace.survivors())) == (6, 2, 512, 4)
    assert "segments" in trace.snapshot()


def test_a_running_recording_cannot_be_changed_either(record):
    with record(warmup=0) as trace:
        for _ in trace.steps(range(3)):
            with pytest.raises(RecordError, match="cannot be changed"):
                trace.warmup = 100
            assert type(trace.samples) is tuple
    assert len(trace.steady) == 3


def test_the_result_is_free(record):
    with record() as trace:
        trace.result = "mine"
    trace.result += ", still"
    assert trace.result == "mine, still"


def test_an_unknown_device_is_refused():
    with pytest.raises(RecordError, match="'meta'"):
        ag.record(lambda: None, device="meta")
