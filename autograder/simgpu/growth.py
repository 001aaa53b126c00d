"""Getting memory from the device when no cached block fits, and what is tried before a request fails.

Names in parentheses are the functions of c10/cuda/CUDACachingAllocator.cpp (torch 2.13).
"""

from __future__ import annotations

from autograder.simgpu.blocks import Block, BlockPool
from autograder.simgpu.oom import OutOfMemory, out_of_memory_message, rejection_message

MAX_REQUEST = 1 << 60  # one_exa_bytes (NativeCachingAllocator::allocate)


class Growth:
    """The part of malloc behind the search of the pools."""

    def __init__(self, allocator):
        self._allocator = allocator

    def new_block(self, pool: BlockPool, size: int, nbytes: int, stacks) -> Block:
        """A block of at least ``size`` bytes that is in no pool; may belong to another pool that helps out (malloc).

        In this order: collect garbage, ask the device, take from private pools that allow it, release just
        enough oversize blocks and ask again, release the whole cache and ask again. ``nbytes``: the
        request before rounding. Raises OutOfMemory.
        """
        allocator = self._allocator
        if size >= MAX_REQUEST:
            raise OutOfMemory("CUDA out of memory. Tried to allocate more than 1EB memory.")
        releaser = allocator.releaser
        if allocator.collects_garbage:
            releaser.collect_garbage(stacks)
        block = self._grow(pool, size, nbytes, stacks) or self._from_private_pools(pool, size)
        if block is None and releaser.release_oversize_blocks(pool, size, stacks):
            block = self._grow(pool, size, nbytes, stacks)
        if block is None and not allocator.pools.routes:
            releaser.release_cached_blocks(stacks=stacks)
            allocator.counters.num_alloc_retries += 1
            block = self._grow(pool, size, nbytes, stacks)
        if block is None:
            raise OutOfMemory(self._note_out_of_memory(pool, size, stacks))
        return block

    def _grow(self, pool: BlockPool, size: int, nbytes: int, stacks) -> Block | None:
        """A new segment, or more of an expandable one; None when the device is full (alloc_block)."""
        allocator = self._allocator
        settings = allocator.settings
        segment_size = settings.segment_size(size)
        allowed = allocator.allowed
        if allowed is not None and allocator.reserved + segment_size > allowed:
            return None
        if settings.throw_on_cudamalloc_oom and allocator.reserved + segment_size > settings.limit(allocator.capacity):
            allocator.counters.num_oom_rejections += 1
            raise OutOfMemory(rejection_message(nbytes))
        if settings.expandable_segments:
            return allocator.expandable.allocate(pool, size, stacks)
        address = allocator.driver.malloc(segment_size)
        if address is None:
            return None
        block = allocator.segments[address] = Block(address, segment_size, pool)
        block.segment_stacks = stacks
        allocator.change_reserved(pool, 1, segment_size)
        allocator.counters.num_device_alloc += 1
        if segment_size >= settings.max_split_size:
            allocator.counters.oversize_segments.change(1)
        allocator.note("segment_alloc", address, segment_size, stacks, pool)
        return block

    def _from_private_pools(self, pool: BlockPool, size: int) -> Block | None:
        """A cached block of a private pool that was opened for this (try_mempool_fallback)."""
        allocator = self._allocator
        if pool.family.owner is not None:
            return None
        for private in allocator.pools.private.values():
            if private.use_on_oom:
                family = private.small if pool.is_small else private.large
                block = allocator.find_free_block(allocator.pools.get(family, pool.stream), size)
                if block is not None:
                    return block
        return None

    def _note_out_of_memory(self, pool: BlockPool, size: int, stacks) -> str:
        allocator = self._allocator
        allocator.counters.num_ooms += 1
        allocator.note("oom", allocator.free_bytes, size, stacks, pool)
        for observer in allocator.oom_observers:
            total = allocator.capacity if allocator.allowed is None else allocator.allowed
            observer(allocator.device, allocator.settings.segment_size(size), total, allocator.free_bytes)
        return out_of_memory_message(
            wanted=allocator.settings.segment_size(size),
            device=allocator.device,
            capacity=allocator.capacity,
            free=allocator.free_bytes,
            allowed=allocator.allowed,
            reserved=allocator.reserved,
            allocated=allocator.allocated,
            in_private_pools=sum(private.cached() for private in allocator.pools.private.values()),
        )
