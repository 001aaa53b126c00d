"""Running out of memory: what is tried first, what is said, and that life goes on."""

import pytest

from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator, OutOfMemory
from autograder.simgpu.oom import format_size

MiB, GiB = 1 << 20, 1 << 30


def test_cached_segments_go_before_a_request_fails():
    """GIVEN 60 of 100 MiB cached, WHEN 80 MiB are asked for, THEN the cache is released and it works."""
    allocator = CachingAllocator(100 * MiB)
    allocator.free(allocator.malloc(60 * MiB))
    allocator.malloc(80 * MiB)
    stats = allocator.stats()
    assert allocator.reserved == 80 * MiB
    assert (stats["num_alloc_retries"], stats["num_sync_all_streams"], stats["num_ooms"]) == (1, 1, 0)
    assert (stats["num_device_alloc"], stats["num_device_free"]) == (2, 1)


def test_what_the_message_says():
    allocator = CachingAllocator(1 * GiB)
    kept = allocator.malloc(100 * MiB)
    half_used = allocator.malloc(5 * MiB)
    with pytest.raises(OutOfMemory) as caught:
        allocator.malloc(2 * GiB - 1)
    assert str(caught.value) == (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1024.00 MiB of which "
        "904.00 MiB is free. Including non-PyTorch memory, this process has 120.00 MiB memory in use. "
        "Of the allocated memory 105.00 MiB is allocated by PyTorch, and 15.00 MiB is reserved by PyTorch but "
        "unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory "
        "Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html"
        "#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)"
    )
    assert kept.allocated and half_used.allocated


def test_the_message_names_the_segment_not_the_request():
    """3 MiB need a segment of 20 MiB; that is what is missing."""
    allocator = CachingAllocator(10 * MiB)
    with pytest.raises(OutOfMemory, match=r"Tried to allocate 20\.00 MiB\. GPU 0 has .* of which 10\.00 MiB is free"):
        allocator.malloc(3 * MiB)


def test_the_message_names_the_limit_a_fraction_sets():
    allocator = CachingAllocator(100 * MiB, device=1)
    allocator.memory_fraction = 0.5
    with pytest.raises(OutOfMemory, match=r"GPU 1 has .*in use\. 50\.00 MiB allowed; Of the allocated"):
        allocator.malloc(60 * MiB)
    assert allocator.malloc(50 * MiB).size == 50 * MiB


@pytest.mark.parametrize("expandable", [False, True])
def test_a_failure_changes_nothing_but_the_cache_and_the_counts(expandable):
    """WHEN a request fails, THEN blocks in use stay where they are, and a smaller one works."""
    allocator = CachingAllocator(200 * MiB, settings=AllocatorSettings(expandable_segments=expandable))
    kept = allocator.malloc(60 * MiB)
    place = (kept.address, kept.size)
    with pytest.raises(OutOfMemory):
        allocator.malloc(150 * MiB)
    stats = allocator.stats()
    assert (stats["num_ooms"], stats["num_alloc_retries"]) == (1, 1)
    assert (kept.address, kept.size, kept.allocated) == (*place, True)
    assert (allocator.allocated, allocator.allocation_count) == (60 * MiB, 1)
    allocator.check_invariants()
    assert allocator.malloc(100 * MiB).size == 100 * MiB
    allocator.free(kept)
    assert allocator.allocated == 100 * MiB


def test_holes_too_small_for_a_request_fail_it_though_enough_is_free():
    """GIVEN every other block of a full device freed, THEN a larger request fails; this is fragmentation."""
    allocator = CachingAllocator(100 * MiB)
    blocks = [allocator.malloc(5 * MiB) for _ in range(20)]
    for block in blocks[::2]:
        allocator.free(block)
    with pytest.raises(OutOfMemory, match=r"0 bytes is free.* and 50\.00 MiB is reserved by PyTorch but unallocated"):
        allocator.malloc(6 * MiB)


def test_a_capacity_below_what_is_reserved_only_stops_growth():
    allocator = CachingAllocator(100 * MiB)
    block = allocator.malloc(80 * MiB)
    allocator.capacity = 50 * MiB
    assert (allocator.free_bytes, block.allocated) == (0, True)
    with pytest.raises(OutOfMemory, match="total capacity of 50.00 MiB of which 0 bytes is free"):
        allocator.malloc(1)


def test_an_absurd_size_is_refused_in_words():
    with pytest.raises(OutOfMemory, match="more than 1EB memory"):
        CachingAllocator(1 * GiB).malloc(1 << 60)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"),
        (1024, "1024 bytes"),
        (1025, "1.00 KiB"),
        (1 * MiB, "1024.00 KiB"),
        (40 * MiB, "40.00 MiB"),
        (1 * GiB, "1024.00 MiB"),
        (80 * GiB, "80.00 GiB"),
    ],
)
def test_how_sizes_are_written(nbytes, text):
    assert format_size(nbytes) == text
