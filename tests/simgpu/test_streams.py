"""Streams and events as torch.cuda has them, as far as memory and order are concerned."""

import threading

import pytest
import torch

from autograder.units import MiB


@pytest.fixture
def gpu(device):
    """torch.simgpu with an empty cache and every stream waited for, before and after."""
    torch.simgpu.synchronize()
    torch.simgpu.empty_cache()
    yield torch.simgpu
    torch.simgpu.set_stream(torch.simgpu.default_stream())
    torch.simgpu.synchronize()
    torch.simgpu.empty_cache()


def block_of(tensor):
    return tensor.untyped_storage()._simgpu_record.block


def make():
    return torch.empty(3 * MiB, dtype=torch.uint8, device="simgpu")


def active(gpu):
    return gpu.memory_stats()["active_bytes.all.current"]


def test_are_allocations_made_for_the_current_stream(gpu):
    """GIVEN a tensor made and freed on a side stream WHEN the default stream asks THEN it gets other memory."""
    side = gpu.Stream()
    with gpu.stream(side):
        address = block_of(make()).address
        assert gpu.current_stream() == side
    assert gpu.current_stream() == gpu.default_stream()
    assert block_of(make()).address != address
    with side:
        assert block_of(make()).address == address
    assert {segment["stream"] for segment in gpu.memory_snapshot()} == {0, side.cuda_stream}


def test_does_record_stream_hold_the_memory_back_until_the_stream_was_waited_for(gpu):
    side = gpu.Stream()
    x = make()
    address = block_of(x).address
    x.record_stream(side)
    del x
    assert (gpu.memory_allocated(), active(gpu)) == (0, 3 * MiB)
    y = make()
    assert block_of(y).address != address
    side.synchronize()
    del y
    assert block_of(make()).address == address
    assert active(gpu) == 0


def wait_for_an_event(gpu, side):
    event = side.record_event()
    event.synchronize()


def ask_an_event(gpu, side):
    event = gpu.Event()
    event.record(side)
    assert event.query()


def wait_by_way_of_the_current_stream(gpu, side):
    gpu.current_stream().wait_stream(side)
    gpu.current_stream().synchronize()


def read_a_number_after_waiting_for_the_stream(gpu, side):
    gpu.current_stream().wait_event(side.record_event())
    torch.ones(1, device="simgpu").item()


WAITS = [
    lambda gpu, side: side.synchronize(), lambda gpu, side: gpu.synchronize(), lambda gpu, side: side.query(),
    lambda gpu, side: gpu.empty_cache(), wait_for_an_event, ask_an_event, wait_by_way_of_the_current_stream,
    read_a_number_after_waiting_for_the_stream,
]  # fmt: skip


@pytest.mark.parametrize("wait", WAITS, ids=range(len(WAITS)))
def test_what_counts_as_waiting_for_a_stream(gpu, wait):
    side = gpu.Stream()
    x = make()
    x.record_stream(side)
    del x
    make()
    assert active(gpu) == 3 * MiB
    wait(gpu, side)
    torch.empty(1, device="simgpu")
    assert active(gpu) == 0


def test_what_does_not_count_as_waiting(gpu):
    """Reading a number waits for the current stream only; a wait between streams lets nobody know."""
    side = gpu.Stream()
    with gpu.stream(gpu.Stream()):
        x = make()
    x.record_stream(side)
    del x
    torch.ones(1, device="simgpu").item()
    gpu.current_stream().wait_stream(side)
    torch.empty(1, device="simgpu")
    assert active(gpu) == 3 * MiB


def test_an_event_from_before_the_free_says_nothing_of_the_memory(gpu):
    side = gpu.Stream()
    x = make()
    x.record_stream(side)
    early = side.record_event()
    del x
    torch.empty(1, device="simgpu")
    early.synchronize()
    torch.empty(1, device="simgpu")
    assert active(gpu) == 3 * MiB


def test_how_many_streams_are_there(gpu):
    """32 per device and priority, handed out in turns."""
    streams = [gpu.Stream() for _ in range(64)]
    assert len(set(streams)) == 32 and streams[0] == streams[32]
    urgent = gpu.Stream(priority=-1)
    assert urgent not in streams and urgent.priority == -1 and streams[0].priority == 0
    assert gpu.default_stream() not in streams


def test_has_each_thread_its_own_current_stream(gpu):
    gpu.set_stream(gpu.Stream())
    seen = []
    thread = threading.Thread(target=lambda: seen.append(gpu.current_stream()))
    thread.start()
    thread.join()
    assert seen == [gpu.default_stream()]


def test_backward_allocates_for_the_stream_it_was_called_on(gpu):
    side = gpu.Stream()
    with gpu.stream(side):
        x = torch.ones(2 * MiB, device="simgpu", requires_grad=True)
        (x * 2).sum().backward()
    assert block_of(x.grad).pool.stream == side.cuda_stream


class NotesStreams(torch.autograd.Function):
    """Doubles, and notes the stream of forward and backward and what each allocated."""

    @staticmethod
    def forward(ctx, x, seen):
        ctx.seen = seen
        seen.append(torch.simgpu.current_stream())
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        result = gradient * 2
        ctx.seen.append((torch.simgpu.current_stream(), block_of(result).pool.stream))
        return result, None


def test_a_backward_node_runs_on_its_forward_s_stream(gpu):
    """Do nodes made on two streams run on theirs, whatever is current when backward is called?"""
    first, second, seen = gpu.Stream(), gpu.Stream(), []
    x = torch.ones(2 * MiB, device="simgpu", requires_grad=True)
    with gpu.stream(first):
        y = NotesStreams.apply(x, seen)
    with gpu.stream(second):
        z = NotesStreams.apply(y, seen)
        total = z.sum()
    total.backward()
    assert seen == [first, second, (second, second.cuda_stream), (first, first.cuda_stream)]
    assert gpu.current_stream() == gpu.default_stream()


def test_a_stream_chosen_inside_a_node_ends_with_it(gpu):
    """GIVEN a backward that changes the stream THEN it counts in that node alone, and the caller's is what it was."""
    side, seen = gpu.Stream(), []

    class Switches(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            seen.append(gpu.current_stream())
            with gpu.stream(side):
                seen.append(gpu.current_stream())
            gpu.set_stream(side)
            seen.append(gpu.current_stream())
            return gradient * 1

    x = torch.ones(3, device="simgpu", requires_grad=True)
    gpu.set_stream(side)
    gpu.set_stream(gpu.default_stream())
    Switches.apply(Switches.apply(x)).sum().backward()
    default = gpu.default_stream()
    assert seen == [default, side, side] * 2 and gpu.current_stream() == default


def test_times_and_misuse_of_events(gpu):
    timed, untimed = gpu.Event(enable_timing=True), gpu.Event()
    with pytest.raises(ValueError, match="enable_timing=True"):
        timed.elapsed_time(untimed)
    with pytest.raises(ValueError, match="must be recorded"):
        timed.elapsed_time(gpu.Event(enable_timing=True))
    assert untimed.query()
    untimed.wait()
    timed.record()
    assert timed.elapsed_time(timed) == 0.0


def test_torch_accelerator_sees_the_same_streams(gpu):
    side = gpu.Stream()
    torch.accelerator.set_stream(side)
    assert torch.accelerator.current_stream() == side == gpu.current_stream()


class TestMemPool:
    def test_is_memory_set_apart(self, gpu):
        pool = gpu.MemPool()
        with gpu.use_mem_pool(pool):
            inside = make()
            assert pool.use_count() == 2
        outside = make()
        assert gpu.memory_reserved() == 40 * MiB and pool.use_count() == 1
        (segment,) = pool.snapshot()
        assert segment["address"] == block_of(inside).address and segment["segment_pool_id"] == pool.id
        del inside
        gpu.empty_cache()
        assert gpu.memory_reserved() == 40 * MiB, "the pool keeps what it has"
        del pool
        assert gpu.memory_allocated() == 3 * MiB and gpu.memory_reserved() == 20 * MiB
        del outside

    def test_a_pluggable_allocator_is_refused(self, gpu):
        with pytest.raises(NotImplementedError, match="pass allocator=None"):
            gpu.MemPool(allocator=object())


def test_settings_can_change_while_the_program_runs(gpu):
    """GIVEN expandable segments switched on THEN a growing tensor reuses its room; off again, segments are as before."""
    memory = gpu.memory
    memory._set_allocator_settings("expandable_segments:True")
    try:
        x = make()
        assert gpu.memory_snapshot()[0]["is_expandable"]
        del x
    finally:
        memory._set_allocator_settings("expandable_segments:False")
    gpu.empty_cache()
    x = make()
    assert not gpu.memory_snapshot()[0]["is_expandable"]
    from autograder.errors import AllocatorSettingsError

    with pytest.raises(AllocatorSettingsError, match="no setting of the allocator"):
        memory._set_allocator_settings("fast:True")
    del x
