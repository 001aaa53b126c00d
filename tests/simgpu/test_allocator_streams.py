"""Blocks belong to the stream they were allocated on; another stream's use delays their reuse."""

import random
from itertools import pairwise

import pytest

from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator, OutOfMemory, stream_key
from autograder.simgpu.timeline import Timeline

MiB = 1 << 20


@pytest.fixture
def allocator():
    return CachingAllocator(200 * MiB)


def figures(allocator):
    stats = allocator.stats()
    return tuple(stats[f"{name}.all.current"] for name in ("allocated_bytes", "active_bytes", "reserved_bytes"))


def test_is_a_freed_block_reused_by_its_own_stream_only(allocator):
    """GIVEN a block of stream 1 freed WHEN stream 0 and then stream 1 ask THEN only stream 1 gets it."""
    first = allocator.malloc(30 * MiB, stream=1)
    address = first.address
    allocator.free(first)
    assert allocator.malloc(30 * MiB).address != address
    assert allocator.malloc(30 * MiB, stream=1).address == address
    assert allocator.reserved == 60 * MiB
    allocator.check_invariants()


def test_does_the_cache_of_one_stream_go_when_another_needs_memory(allocator):
    """GIVEN 150 of 200 MiB cached by stream 1 WHEN stream 0 asks for 100 THEN the cache is released."""
    allocator.free(allocator.malloc(150 * MiB, stream=1))
    allocator.malloc(100 * MiB)
    assert (allocator.reserved, allocator.stats()["num_alloc_retries"]) == (100 * MiB, 1)


def test_does_record_stream_delay_reuse(allocator):
    """GIVEN a block used by stream 1 and freed THEN it is active but not allocated, and reused only once stream 1
    was waited for and something is allocated."""
    block = allocator.malloc(30 * MiB)
    address = block.address
    allocator.record_stream(block, 1)
    allocator.free(block)
    assert figures(allocator) == (0, 30 * MiB, 30 * MiB)
    assert allocator.malloc(30 * MiB).address != address
    allocator.timeline.synchronize(1)
    assert figures(allocator) == (30 * MiB, 60 * MiB, 60 * MiB), "nothing looks before the next allocation"
    assert allocator.malloc(30 * MiB).address == address
    assert allocator.stats()["active_bytes.all.peak"] == 60 * MiB
    allocator.check_invariants()


def test_does_a_use_on_its_own_stream_change_nothing(allocator):
    block = allocator.malloc(30 * MiB, stream=2)
    allocator.record_stream(block, 2)
    allocator.free(block)
    assert figures(allocator) == (0, 0, 30 * MiB)


def test_do_all_recorded_streams_have_to_finish(allocator):
    block = allocator.malloc(1)
    for stream in (1, 2, 1):
        allocator.record_stream(block, stream)
    allocator.free(block)
    allocator.timeline.synchronize(2)
    allocator.malloc(1)
    assert block.waiting == 1
    allocator.timeline.synchronize(1)
    allocator.malloc(1)
    assert not block.waiting


def test_empty_cache_waits_for_the_streams(allocator):
    """GIVEN a freed block that waits WHEN the cache is emptied THEN its memory goes back too."""
    block = allocator.malloc(30 * MiB)
    allocator.record_stream(block, 1)
    allocator.free(block)
    allocator.empty_cache()
    assert figures(allocator) == (0, 0, 0)
    assert allocator.stats()["num_sync_all_streams"] == 1


def test_a_request_that_does_not_fit_waits_for_the_streams_too(allocator):
    block = allocator.malloc(150 * MiB)
    allocator.record_stream(block, 1)
    allocator.free(block)
    assert allocator.malloc(150 * MiB).size == 150 * MiB
    assert allocator.stats()["num_ooms"] == 0


def test_what_is_asked_for_falls_only_when_the_block_is_free(allocator):
    """requested_bytes counts the block while it waits, allocated_bytes does not (free, free_block)."""
    block = allocator.malloc(1000)
    allocator.record_stream(block, 1)
    allocator.free(block)
    stats = allocator.stats()
    assert (stats["requested_bytes.all.current"], stats["allocated_bytes.all.current"]) == (1000, 0)
    assert (stats["active.all.current"], stats["allocation.all.current"]) == (1, 0)


def test_a_block_that_waits_cannot_be_freed_again(allocator):
    block = allocator.malloc(1)
    allocator.record_stream(block, 1)
    allocator.free(block)
    with pytest.raises(ValueError, match="waiting>: was it freed twice"):
        allocator.free(block)


def test_does_a_snapshot_show_who_waits_and_on_which_stream_blocks_are(allocator):
    allocator.record_history(True)
    block = allocator.malloc(3 * MiB, stream=5)
    allocator.record_stream(block, 1)
    allocator.free(block)
    (segment,) = allocator.snapshot()["segments"]
    assert (segment["stream"], segment["allocated_size"], segment["active_size"]) == (5, 0, 3 * MiB)
    assert [b["state"] for b in segment["blocks"]] == ["active_pending_free", "inactive"]
    allocator.empty_cache()
    events = allocator.snapshot()["device_traces"][0]
    assert [e["action"] for e in events[1:5]] == ["alloc", "free_requested", "snapshot", "free_completed"]
    assert events[1]["stream"] == 5


def test_cuda_free_waits_for_the_whole_device():
    """GIVEN garbage collection, which releases a segment without waiting for events itself THEN streams are done."""
    settings = AllocatorSettings.parse("garbage_collection_threshold:0.1,per_process_memory_fraction:0.9")
    allocator = CachingAllocator(200 * MiB, settings=settings)
    waiting = allocator.malloc(1)
    allocator.free(allocator.malloc(40 * MiB))
    allocator.record_stream(waiting, 1)
    allocator.free(waiting)
    allocator.malloc(90 * MiB)
    assert allocator.reserved == 92 * MiB
    allocator.malloc(1)
    assert not waiting.waiting


class TestTimeline:
    def test_is_a_mark_done_once_something_after_it_was_waited_for(self):
        timeline = Timeline()
        first, second, other = timeline.mark(1), timeline.mark(1), timeline.mark(2)
        timeline.finish(second)
        assert timeline.has_finished(first) and not timeline.has_finished(other)

    def test_is_a_mark_done_once_a_stream_that_waited_for_it_was_waited_for(self):
        """GIVEN 2 waits for 1 and 3 for 2 WHEN 3 is waited for THEN 1 is done, up to the mark and no further."""
        timeline = Timeline()
        mark = timeline.mark(1)
        timeline.wait(2, mark)
        timeline.wait(3, timeline.mark(2))
        later = timeline.mark(1)
        timeline.synchronize(3)
        assert timeline.has_finished(mark) and not timeline.has_finished(later)

    def test_a_wait_binds_only_what_is_issued_after_it(self):
        timeline = Timeline()
        before = timeline.mark(2)
        mark = timeline.mark(1)
        timeline.wait(2, mark)
        timeline.finish(before)
        assert not timeline.has_finished(mark)

    def test_does_waiting_for_a_device_spare_the_others(self):
        timeline = Timeline()
        here, there = timeline.mark(stream_key(0, 1)), timeline.mark(stream_key(1, 1))
        timeline.synchronize_all(CachingAllocator(MiB, timeline=timeline).is_mine)
        assert timeline.has_finished(here) and not timeline.has_finished(there)


class TestSeveralDevices:
    def test_no_two_devices_share_an_address(self):
        blocks = [CachingAllocator(64 << 30, device=device).malloc(32 << 30) for device in range(3)]
        ends = sorted((block.address, block.address + block.size) for block in blocks)
        assert all(low[1] <= high[0] for low, high in pairwise(ends))

    def test_a_stream_of_another_device_delays_reuse(self):
        timeline = Timeline()
        allocator = CachingAllocator(200 * MiB, timeline=timeline)
        block = allocator.malloc(1)
        allocator.record_stream(block, 3, device=1)
        allocator.free(block)
        timeline.synchronize(stream_key(0, 3))
        allocator.malloc(1)
        assert block.waiting
        timeline.synchronize(stream_key(1, 3))
        allocator.malloc(1)
        assert not block.waiting

    def test_default_streams_count_as_one(self):
        """Their handle is null on every device, so the allocator takes them for the block's own (recordStream)."""
        allocator = CachingAllocator(200 * MiB)
        block = allocator.malloc(1)
        allocator.record_stream(block, 0, device=1)
        allocator.free(block)
        assert not block.waiting


class TestPrivatePools:
    ID = (0, 1)

    def test_are_requests_served_apart_while_it_is_in_use(self, allocator):
        """GIVEN a private pool WHEN allocations go to it THEN they share nothing with the default pools."""
        allocator.free(allocator.malloc(3 * MiB))
        allocator.pools.create(self.ID)
        allocator.begin_pool(self.ID)
        mine = allocator.malloc(3 * MiB)
        allocator.end_pool(self.ID)
        assert (allocator.reserved, allocator.stats()["segment.large_pool.current"]) == (40 * MiB, 2)
        (segment,) = allocator.snapshot(self.ID)["segments"]
        assert (segment["segment_pool_id"], segment["address"]) == (self.ID, mine.address)
        assert allocator.malloc(3 * MiB).address != mine.address + 3 * MiB
        allocator.check_invariants()

    def test_its_memory_goes_back_only_when_nobody_holds_it(self, allocator):
        allocator.pools.create(self.ID)
        allocator.begin_pool(self.ID)
        allocator.free(allocator.malloc(30 * MiB))
        allocator.end_pool(self.ID)
        allocator.empty_cache()
        assert allocator.reserved == 30 * MiB
        allocator.pools.release(self.ID)
        allocator.empty_cache()
        assert (allocator.reserved, allocator.pools.private) == (0, {})

    @pytest.mark.parametrize("use_on_oom", [False, True])
    def test_does_it_help_out_before_a_request_fails(self, allocator, use_on_oom):
        allocator.pools.create(self.ID, use_on_oom=use_on_oom)
        allocator.begin_pool(self.ID)
        allocator.free(allocator.malloc(150 * MiB))
        allocator.end_pool(self.ID)
        if use_on_oom:
            assert allocator.malloc(100 * MiB).pool.family.owner.id == self.ID
        else:
            with pytest.raises(OutOfMemory, match=r"with 150.00 MiB allocated in private pools \(e.g., CUDA Graphs\)"):
                allocator.malloc(100 * MiB)
        allocator.check_invariants()

    def test_no_split_leaves_segments_whole(self, allocator):
        allocator.pools.create(self.ID, no_split=True)
        allocator.begin_pool(self.ID)
        assert (allocator.malloc(1).size, allocator.malloc(1).size) == (2 * MiB, 2 * MiB)
        allocator.end_pool(self.ID)

    def test_one_pool_cannot_be_begun_twice(self, allocator):
        allocator.begin_pool(self.ID)
        with pytest.raises(RuntimeError, match="already recording"):
            allocator.begin_pool(self.ID)
        allocator.end_pool(self.ID)
        with pytest.raises(RuntimeError, match="not currently recording"):
            allocator.end_pool(self.ID)


TEXTS = ["", "expandable_segments:True", "max_split_size_mb:20", "expandable_segments:True,max_split_size_mb:40",
         "garbage_collection_threshold:0.4,per_process_memory_fraction:0.8"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text or "defaults")
@pytest.mark.parametrize("seed", range(2))
def test_random_programs_on_streams_keep_every_invariant(text, seed):
    """GIVEN mallocs, frees, uses by other streams, waits and private pools in any order THEN the books balance, no
    block is handed out while a stream that used it may be working, and all memory can go back."""
    rng = random.Random(seed)
    allocator = CachingAllocator(1 << 30, settings=AllocatorSettings.parse(text))
    live, marks, waited, failures = [], [], 0, 0
    pool_ids = [(0, 1), (0, 2)]
    for step in range(1200):
        choice = rng.random()
        if choice < 0.45 or not live:
            private = rng.choice(pool_ids) if rng.random() < 0.1 else None
            if private:
                allocator.begin_pool(private)
            try:
                live.append(allocator.malloc(int(2 ** rng.uniform(0, 28)), stream=rng.choice((0, 0, 1, 2))))
            except OutOfMemory:
                failures += 1
                while len(live) > 8:
                    allocator.free(live.pop(rng.randrange(len(live))))
            if private:
                allocator.end_pool(private)
        elif choice < 0.85:
            allocator.free(live.pop(rng.randrange(len(live))))
        elif choice < 0.93:
            allocator.record_stream(rng.choice(live), rng.choice((0, 1, 2, 3)))
        elif choice < 0.96:
            marks.append(allocator.timeline.mark(rng.choice((1, 2, 3))))
            allocator.timeline.wait(rng.choice((1, 2, 3)), rng.choice(marks))
        elif choice < 0.99:
            allocator.timeline.synchronize(rng.choice((0, 1, 2, 3)))
        else:
            allocator.empty_cache()
        waited = max(waited, sum(len(events) for events in allocator.waiting.events.values()))
        if step % 20 == 0:
            _check_against(live, allocator)
    assert waited > 0 and failures > 0, f"seed {seed} is too tame: waited {waited}, failures {failures}"
    for block in live:
        allocator.free(block)
    allocator.empty_cache()
    _check_against([], allocator)
    assert (allocator.allocated, allocator.reserved) == (0, 0)


def _check_against(live, allocator):
    held = live + [block for events in allocator.waiting.events.values() for _, block in events]
    in_order = sorted(set(held), key=lambda block: block.address)
    for low, high in pairwise(in_order):
        assert low.address + low.size <= high.address, f"{low} and {high} overlap"
    assert allocator.allocated == sum(block.size for block in live)
    assert allocator.stats()["active_bytes.all.current"] == sum(block.size for block in in_order)
    allocator.check_invariants()
