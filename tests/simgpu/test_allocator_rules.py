"""The rules of CUDA's caching allocator, byte by byte."""

import subprocess
import sys

import pytest

from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture
def allocator():
    return CachingAllocator(16 * GiB)


@pytest.mark.parametrize(
    ("request_bytes", "block", "reserved"),
    [
        (0, 512, 2 * MiB),
        (1, 512, 2 * MiB),
        (512, 512, 2 * MiB),
        (513, 1024, 2 * MiB),
        (1 * MiB, 1 * MiB, 2 * MiB),
        (1 * MiB + 1, 1 * MiB + 512, 20 * MiB),
        (10 * MiB - 512, 10 * MiB - 512, 20 * MiB),
        (10 * MiB - 511, 10 * MiB, 10 * MiB),
        (10 * MiB, 10 * MiB, 10 * MiB),
        (10 * MiB + 1, 10 * MiB + 512, 12 * MiB),
        (12 * MiB + 1, 12 * MiB + 512, 14 * MiB),
        (13 * MiB - 512, 13 * MiB - 512, 14 * MiB),
        (13 * MiB, 14 * MiB, 14 * MiB),
        (13 * MiB + 1, 14 * MiB, 14 * MiB),
        (14 * MiB, 14 * MiB, 14 * MiB),
    ],
)
def test_how_large_are_the_block_and_the_segment_for_a_request(allocator, request_bytes, block, reserved):
    """Sizes go up to 512 bytes; segments are 2 MiB, 20 MiB or a multiple of 2 MiB; a rest of up to
    1 MiB of a large segment stays with the block."""
    given = allocator.malloc(request_bytes)
    assert (given.size, given.requested, allocator.allocated, allocator.reserved) == (
        block, request_bytes, block, reserved,
    )  # fmt: skip


def test_a_negative_size_is_refused(allocator):
    with pytest.raises(ValueError, match="found -1"):
        allocator.malloc(-1)


def test_is_freed_memory_kept_for_reuse(allocator):
    block = allocator.malloc(3 * MiB)
    address = block.address
    allocator.free(block)
    assert (allocator.allocated, allocator.reserved) == (0, 20 * MiB)
    assert allocator.malloc(3 * MiB).address == address
    assert allocator.stats()["num_device_alloc"] == 1


def test_is_the_smallest_block_that_fits_taken(allocator):
    """GIVEN free segments of 20, 12 and 16 MiB, THEN 11 MiB goes into the one of 12 MiB."""
    blocks = [allocator.malloc(size * MiB) for size in (20, 12, 16)]
    for block in blocks:
        allocator.free(block)
    assert allocator.malloc(11 * MiB).address == blocks[1].address


def test_is_the_lowest_of_equal_blocks_taken(allocator):
    blocks = [allocator.malloc(12 * MiB) for _ in range(3)]
    lowest = min(block.address for block in blocks)
    for block in reversed(blocks):
        allocator.free(block)
    assert allocator.malloc(12 * MiB).address == lowest


def test_are_blocks_cut_from_the_low_end_of_a_segment(allocator):
    blocks = [allocator.malloc(5 * MiB) for _ in range(4)]
    addresses = [block.address for block in blocks]
    assert addresses == [addresses[0] + index * 5 * MiB for index in range(4)]
    assert allocator.reserved == 20 * MiB
    assert allocator.malloc(5 * MiB).address not in range(addresses[0], addresses[0] + 20 * MiB)


def test_a_rest_of_512_bytes_of_a_small_segment_is_split_off(allocator):
    allocator.malloc(1 * MiB)
    assert allocator.malloc(1 * MiB - 512).size == 1 * MiB - 512
    assert allocator.malloc(1).size == 512
    assert allocator.reserved == 2 * MiB


def test_do_free_neighbours_merge(allocator):
    """GIVEN four blocks of 5 MiB in one segment, WHEN two neighbours are freed, THEN 10 MiB fit there."""
    blocks = [allocator.malloc(5 * MiB) for _ in range(4)]
    start = blocks[1].address
    allocator.free(blocks[1])
    allocator.free(blocks[2])
    assert allocator.malloc(10 * MiB).address == start
    assert allocator.reserved == 20 * MiB


def test_blocks_apart_do_not_merge(allocator):
    """GIVEN a hole of 5 MiB, a block, a hole of 5 MiB, THEN 10 MiB need a new segment."""
    blocks = [allocator.malloc(5 * MiB) for _ in range(4)]
    allocator.free(blocks[0])
    allocator.free(blocks[2])
    allocator.malloc(10 * MiB)
    assert allocator.reserved == 30 * MiB


def test_small_and_large_requests_do_not_share_segments(allocator):
    allocator.free(allocator.malloc(3 * MiB))
    allocator.malloc(1 * MiB)
    assert allocator.reserved == 22 * MiB


def test_what_does_empty_cache_give_back(allocator):
    """Segments without any block in use; a segment that is partly in use stays whole."""
    kept = allocator.malloc(5 * MiB)
    allocator.free(allocator.malloc(5 * MiB))
    allocator.free(allocator.malloc(40 * MiB))
    assert allocator.reserved == 60 * MiB
    allocator.empty_cache()
    assert (allocator.allocated, allocator.reserved, allocator.free_bytes) == (5 * MiB, 20 * MiB, 16 * GiB - 20 * MiB)
    allocator.free(kept)
    allocator.empty_cache()
    assert allocator.reserved == 0


def test_a_block_cannot_be_freed_twice(allocator):
    block = allocator.malloc(1)
    allocator.free(block)
    with pytest.raises(ValueError, match="freed twice"):
        allocator.free(block)


def test_which_free_blocks_count_as_inactive_split(allocator):
    """Those that share their segment: they cannot be released."""

    def idle():
        stats = allocator.stats()
        return stats["inactive_split.all.current"], stats["inactive_split_bytes.all.current"]

    first, second = allocator.malloc(5 * MiB), allocator.malloc(5 * MiB)
    assert idle() == (1, 10 * MiB)
    allocator.free(first)
    assert idle() == (2, 15 * MiB)
    allocator.free(second)
    assert idle() == (0, 0)
    assert allocator.stats()["inactive_split_bytes.large_pool.peak"] == 15 * MiB


def test_peaks_and_totals(allocator):
    """GIVEN 4 MiB and then 2 MiB at once, WHEN the peak is reset, THEN it starts from what is in use."""
    first, second = allocator.malloc(4 * MiB), allocator.malloc(2 * MiB)
    allocator.free(first)
    stats = allocator.stats()
    assert stats["allocated_bytes.all.current"] == 2 * MiB
    assert stats["allocated_bytes.all.peak"] == allocator.peak_allocated == 6 * MiB
    assert stats["allocated_bytes.large_pool.allocated"] == 6 * MiB
    assert stats["allocated_bytes.all.freed"] == 4 * MiB
    assert (stats["allocation.all.current"], stats["allocation.all.allocated"]) == (1, 2)
    allocator.reset_peak()
    assert allocator.peak_allocated == allocator.stats()["allocated_bytes.large_pool.peak"] == 2 * MiB
    allocator.reset_accumulated()
    assert allocator.stats()["allocated_bytes.all.allocated"] == 0
    assert allocator.stats()["allocated_bytes.all.freed"] == 0
    allocator.free(second)
    assert allocator.stats()["allocated_bytes.all.freed"] == 2 * MiB
    assert allocator.allocation_count == 2


def test_the_peak_of_both_pools_together_is_not_the_sum_of_their_peaks(allocator):
    allocator.free(allocator.malloc(3 * MiB))
    allocator.free(allocator.malloc(1 * MiB))
    stats = allocator.stats()
    assert stats["allocated_bytes.all.peak"] == 3 * MiB
    assert stats["allocated_bytes.small_pool.peak"] == 1 * MiB
    assert (allocator.peak_allocated, allocator.peak_reserved) == (3 * MiB, 22 * MiB)


@pytest.mark.parametrize(("expandable", "reserved"), [(False, sum(range(20, 60, 2)) * MiB), (True, 60 * MiB)])
def test_what_do_growing_requests_leave_behind(expandable, reserved):
    """GIVEN 20, 22, ... 58 MiB, each freed before the next, THEN each gets a segment that no later
    one can use, while an expandable segment grows."""
    allocator = CachingAllocator(2 * GiB, settings=AllocatorSettings(expandable_segments=expandable))
    for size in range(20, 60, 2):
        allocator.free(allocator.malloc(size * MiB))
    assert allocator.reserved == reserved


class TestExpandableSegments:
    @pytest.fixture
    def expandable(self):
        return CachingAllocator(1 * GiB, settings=AllocatorSettings(expandable_segments=True))

    def test_memory_is_mapped_in_pages_of_20_mib_or_2_mib(self, expandable):
        expandable.malloc(21 * MiB)
        assert expandable.reserved == 40 * MiB
        expandable.malloc(1)
        assert expandable.reserved == 42 * MiB

    def test_every_rest_of_512_bytes_is_split_off(self, expandable):
        assert expandable.malloc(13 * MiB + 1).size == 13 * MiB + 512

    def test_a_free_end_grows_instead_of_staying_a_hole(self, expandable):
        """GIVEN 30 MiB free at the end of what is mapped, WHEN 50 MiB come, THEN only 20 MiB are added."""
        start = expandable.malloc(10 * MiB).address
        expandable.free(expandable.malloc(30 * MiB))
        assert expandable.reserved == 40 * MiB
        assert expandable.malloc(50 * MiB).address == start + 10 * MiB
        assert expandable.reserved == 60 * MiB

    def test_whole_pages_inside_a_hole_go_back(self, expandable):
        """GIVEN 10 MiB in use, 50 MiB free, 10 MiB in use, THEN the pages from 20 to 60 MiB are released."""
        low, hole, high = (expandable.malloc(size * MiB) for size in (10, 50, 10))
        expandable.free(hole)
        expandable.empty_cache()
        assert expandable.reserved == 40 * MiB
        assert expandable.malloc(10 * MiB).address == low.address + 10 * MiB
        assert expandable.malloc(40 * MiB).address == low.address + 20 * MiB
        assert high.address == low.address + 60 * MiB
        expandable.check_invariants()

    def test_room_to_grow_is_taken_last(self, expandable):
        """GIVEN a hole of 30 MiB and 20 MiB free at the end, THEN 15 MiB go into the hole."""
        hole = expandable.malloc(30 * MiB)
        place = hole.address
        expandable.malloc(10 * MiB)
        expandable.free(expandable.malloc(20 * MiB))
        expandable.free(hole)
        assert expandable.malloc(15 * MiB).address == place

    def test_pages_move_to_the_end_when_holes_are_too_small(self):
        """GIVEN a full device with two holes of a page, WHEN two pages in a row are asked for, THEN
        they are mapped behind the rest, where addresses for 1/8 more than the device are reserved."""
        expandable = CachingAllocator(200 * MiB, settings=AllocatorSettings(expandable_segments=True))
        blocks = [expandable.malloc(20 * MiB) for _ in range(10)]
        start = blocks[0].address
        expandable.free(blocks[0])
        expandable.free(blocks[2])
        assert expandable.malloc(40 * MiB).address == start + 200 * MiB
        stats = expandable.stats()
        assert (stats["num_device_alloc"], stats["num_device_free"]) == (11, 2)

    def test_an_unused_segment_disappears(self, expandable):
        expandable.free(expandable.malloc(100 * MiB))
        expandable.empty_cache()
        assert (expandable.reserved, list(expandable.heads())) == (0, [])

    def test_free_blocks_in_them_are_not_inactive_split(self, expandable):
        expandable.malloc(10 * MiB)
        assert expandable.stats()["inactive_split_bytes.all.current"] == 0


def test_the_allocator_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import autograder.simgpu.allocator as a; a.CachingAllocator(1)"
    subprocess.run([sys.executable, "-c", code], check=True)
