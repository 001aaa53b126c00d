"""Random programs: whatever is allocated and freed, in any order, the books must balance."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator, OutOfMemory

MiB = 1 << 20
EDGES = [512, MiB, MiB + 1, 5 * MiB, 10 * MiB - 1, 10 * MiB, 13 * MiB + 1, 20 * MiB, 64 * MiB, 100 * MiB]
SETTINGS = [
    "",
    "expandable_segments:True",
    "expandable_segments:True,large_segment_size_mb:12,per_process_memory_fraction:0.7",
    "max_split_size_mb:20",
    "max_split_size_mb:64,max_non_split_rounding_mb:40",
    "roundup_power2_divisions:[1:4,16:8,>:2]",
    "garbage_collection_threshold:0.5,per_process_memory_fraction:0.8",
    "large_segment_size_mb:40,max_split_size_mb:40,garbage_collection_threshold:0.3,per_process_memory_fraction:0.9",
]


def random_size(rng):
    return int(2 ** rng.uniform(0, 28)) if rng.random() < 0.7 else rng.choice(EDGES)


def check_against(live, allocator):
    """The blocks in use, as the program knows them, against the allocator's figures."""
    in_order = sorted(live, key=lambda block: block.address)
    for low, high in pairwise(in_order):
        assert low.address + low.size <= high.address, f"{low} and {high} overlap"
    assert allocator.allocated == sum(block.size for block in live)
    assert allocator.stats()["requested_bytes.all.current"] == sum(block.requested for block in live)
    assert allocator.allocated <= allocator.reserved <= allocator.capacity
    assert all(block.allocated and block.requested <= block.size for block in live)
    allocator.check_invariants()


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text or "defaults")
@pytest.mark.parametrize("seed", range(4))
def test_random_mallocs_and_frees_keep_every_invariant(text, seed):
    rng = random.Random(seed)
    allocator = CachingAllocator(1 << 30, settings=AllocatorSettings.parse(text))
    live, peak, failures = [], 0, 0
    for step in range(1500):
        choice = rng.random()
        if choice < 0.55 or not live:
            try:
                live.append(allocator.malloc(random_size(rng)))
            except OutOfMemory:
                failures += 1
                rng.shuffle(live)
                while len(live) > 10:
                    allocator.free(live.pop())
        elif choice < 0.97:
            allocator.free(live.pop(rng.randrange(len(live))))
        else:
            allocator.empty_cache()
        peak = max(peak, allocator.allocated)
        if step % 25 == 0:
            check_against(live, allocator)
    assert failures > 0, f"seed {seed} never ran out of memory: the program is too tame"
    assert allocator.peak_allocated == peak
    for block in live:
        allocator.free(block)
    allocator.empty_cache()
    check_against([], allocator)
    assert (allocator.allocated, allocator.reserved) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_settings_may_change_while_memory_is_in_use(seed):
    rng = random.Random(seed)
    allocator = CachingAllocator(1 << 30)
    live = []
    for step in range(800):
        if step % 40 == 0:
            allocator.settings = AllocatorSettings.parse(f"expandable_segments:{rng.random() < 0.5}")
        if rng.random() < 0.55 or not live:
            try:
                live.append(allocator.malloc(random_size(rng)))
            except OutOfMemory:
                while len(live) > 10:
                    allocator.free(live.pop(rng.randrange(len(live))))
                continue
            in_expandable = live[-1].segment is not None
            assert allocator.settings.expandable_segments or not in_expandable, "given although switched off"
        else:
            allocator.free(live.pop(rng.randrange(len(live))))
        if step % 20 == 0:
            check_against(live, allocator)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 64 * MiB), st.integers(0, 5)), max_size=40), st.booleans())
def test_freeing_everything_in_any_order_leaves_only_whole_segments(program, expandable):
    """WHEN all blocks are freed, THEN every piece has merged again and all memory can go back."""
    allocator = CachingAllocator(8 << 30, settings=AllocatorSettings(expandable_segments=expandable))
    live = []
    for nbytes, position in program:
        live.insert(min(position, len(live)), allocator.malloc(nbytes))
    while live:
        allocator.free(live.pop())
    stats = allocator.stats()
    assert stats["inactive_split.all.current"] == 0
    assert stats["allocated_bytes.all.freed"] == stats["allocated_bytes.all.allocated"]
    allocator.check_invariants()
    allocator.empty_cache()
    assert allocator.reserved == 0


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 1 << 40), st.sampled_from(["", "roundup_power2_divisions:8", "roundup_power2_divisions:[4:2,>:4]"])
)
def test_rounding_never_shrinks_a_request_and_gives_whole_blocks(nbytes, text):
    size = AllocatorSettings.parse(text).round_size(nbytes)
    assert size >= nbytes
    assert size % 512 == 0
    assert size > 0
    assert size <= max(512, 2 * nbytes)
