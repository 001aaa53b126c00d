"""Giving cached memory back to the device: on request, when memory is short, and by age.

Names in parentheses are the functions of c10/cuda/CUDACachingAllocator.cpp (torch 2.13).
"""

from __future__ import annotations

from autograder.simgpu.blocks import Block, BlockPool, Family
from autograder.simgpu.pools import DEFAULT_ID
from autograder.simgpu.settings import UNLIMITED


class Releaser:
    """Finds cached segments that can go. A segment can when none of its blocks is in use."""

    def __init__(self, allocator):
        self._allocator = allocator

    def release_cached_blocks(self, pool_id: tuple[int, int] = DEFAULT_ID, stacks: dict | None = None) -> None:
        """Release all that is cached by the default pools and by private pools without a user, or by one
        such private pool (release_cached_blocks). ``stacks``: who has it done, for the recorders that ask."""
        pools, waiting = self._allocator.pools, self._allocator.waiting
        if pool_id == DEFAULT_ID and not pools.routes:
            waiting.finish(stacks=stacks)
            self._release_family(pools.large, stacks)
            self._release_family(pools.small, stacks)
        for private in list(pools.private.values()):
            if private.use_count or pool_id not in (DEFAULT_ID, private.id):
                continue
            if pool_id != DEFAULT_ID:
                waiting.finish(private, stacks)
            self._release_family(private.small, stacks)
            self._release_family(private.large, stacks)
        for private in pools.drop_unused():
            self._allocator.expandable.drop(private)

    def _release_family(self, family: Family, stacks: dict | None) -> None:
        """Release the segments that are wholly free, and the free pages of expandable ones (release_blocks)."""
        expandable = []
        for pool in family.in_order():
            for block in list(pool.blocks):
                if block.segment is not None:
                    expandable.append(block)
                elif not block.is_split:
                    self._release_segment(block, stacks)
        for block in expandable:
            self._allocator.expandable.release(block, stacks)

    def release_oversize_blocks(self, pool: BlockPool, size: int, stacks: dict | None = None) -> bool:
        """Release the smallest block above the split limit that would do, else the largest ones
        until there is enough; whether there is (release_available_cached_blocks)."""
        limit = self._allocator.settings.max_split_size
        if limit == UNLIMITED:
            return False
        wanted = max(size, limit)
        index = pool.lower_bound(wanted)
        if index < len(pool.blocks) and pool.blocks[index].segment is None:
            self._release_segment(pool.blocks[index], stacks)
            return True
        released = 0
        for block in pool.blocks[:index][::-1]:
            if released >= wanted or block.size < limit:
                break
            if block.segment is None:
                released += block.size
                self._release_segment(block, stacks)
        return released >= wanted

    def collect_garbage(self, stacks: dict | None = None) -> None:
        """Above the threshold, release the segments that lay unused for longer than the average
        one, until enough is back (garbage_collect_cached_blocks)."""
        allocator = self._allocator
        threshold = int(allocator.settings.garbage_collection_threshold * allocator.allowed)
        missing = allocator.reserved - threshold
        family = allocator.pools.large
        whole = [block for pool in family.in_order() for block in pool.blocks if not block.is_split]
        ages = {block: family.searches - block.searches_when_freed for block in whole}
        while missing > 0 and ages:
            average = sum(ages.values()) / len(ages)
            old = [block for block, age in ages.items() if age >= average and block.segment is None]
            if not old:
                return
            for block in old:
                missing -= block.size
                del ages[block]
                self._release_segment(block, stacks)

    def _release_segment(self, block: Block, stacks: dict | None) -> None:
        """Give one segment back (release_block). cudaFree waits for the whole device."""
        allocator, pool = self._allocator, block.pool
        pool.remove(block)
        del allocator.segments[block.address]
        allocator.timeline.synchronize_all(allocator.is_mine)
        allocator.driver.release(block.address, block.size)
        allocator.change_reserved(pool, -1, -block.size)
        allocator.counters.num_device_free += 1
        if block.size >= allocator.settings.max_split_size:
            allocator.counters.oversize_segments.change(-1)
        allocator.note("segment_free", block.address, block.size, stacks, pool, block.segment_stacks)
