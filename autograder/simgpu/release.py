"""Giving cached memory back to the device: on request, when memory is short, and by age.

Names in parentheses are the functions of c10/cuda/CUDACachingAllocator.cpp (torch 2.13).
"""

from __future__ import annotations

from autograder.simgpu.blocks import Block, BlockPool
from autograder.simgpu.settings import UNLIMITED


class Releaser:
    """Finds cached segments that can go. A segment can when none of its blocks is in use."""

    def __init__(self, allocator):
        self._allocator = allocator

    def release_cached_blocks(self) -> None:
        """Release all that is cached (release_cached_blocks)."""
        self._allocator.counters.num_sync_all_streams += 1
        for pool in (self._allocator.large, self._allocator.small):
            for block in list(pool.blocks):
                if block.segment is not None:
                    self._allocator.expandable.release(block)
                elif not block.is_split:
                    self._release_segment(block)

    def release_oversize_blocks(self, pool: BlockPool, size: int) -> bool:
        """Release the smallest block above the split limit that would do, else the largest ones
        until there is enough; whether there is (release_available_cached_blocks)."""
        limit = self._allocator.settings.max_split_size
        if limit == UNLIMITED:
            return False
        wanted = max(size, limit)
        index = pool.lower_bound(wanted)
        if index < len(pool.blocks):
            self._release_segment(pool.blocks[index])
            return True
        released = 0
        while released < wanted and pool.blocks and pool.blocks[-1].size >= limit:
            released += pool.blocks[-1].size
            self._release_segment(pool.blocks[-1])
        return released >= wanted

    def collect_garbage(self) -> None:
        """Above the threshold, release the segments that lay unused for longer than the average
        one, until enough is back (garbage_collect_cached_blocks)."""
        allocator = self._allocator
        pool = allocator.large
        threshold = int(allocator.settings.garbage_collection_threshold * allocator.allowed)
        missing = allocator.reserved - threshold
        ages = {block: pool.searches - block.searches_when_freed for block in pool.blocks if _can_go(block)}
        while missing > 0 and ages:
            average = sum(ages.values()) / len(ages)
            for block in [block for block, age in ages.items() if age >= average]:
                missing -= block.size
                del ages[block]
                self._release_segment(block)

    def _release_segment(self, block: Block) -> None:
        """Give one segment back (release_block)."""
        allocator, pool = self._allocator, block.pool
        pool.remove(block)
        del allocator.segments[block.address]
        allocator.driver.release(block.address, block.size)
        allocator.counters.change_reserved(pool.stats, -1, -block.size)
        allocator.counters.num_device_free += 1
        if block.size >= allocator.settings.max_split_size:
            allocator.counters.oversize_segments.change(-1)
        allocator.note("segment_free", block.address, block.size, block.segment_frames)


def _can_go(block: Block) -> bool:
    return block.segment is None and not block.is_split
