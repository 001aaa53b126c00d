"""The caching allocator: a model of c10::cuda::CUDACachingAllocator for one device.

Names in parentheses are the functions of c10/cuda/CUDACachingAllocator.cpp (torch 2.13) that each
rule follows; docs/simulated_gpu.md has the table. Addresses are made up and no memory is touched.
Sizes are in bytes. Nothing here is thread-safe: the caller serializes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from autograder.simgpu.blocks import ADDRESS_BITS, MIN_BLOCK_SIZE, SMALL_SIZE, Block, BlockPool
from autograder.simgpu.driver import Driver
from autograder.simgpu.expandable import ExpandableSegments
from autograder.simgpu.growth import Growth
from autograder.simgpu.oom import OutOfMemory
from autograder.simgpu.pools import DEFAULT_ID, Pools
from autograder.simgpu.readings import Readings
from autograder.simgpu.recording import Recorder, Recording
from autograder.simgpu.release import Releaser
from autograder.simgpu.settings import AllocatorSettings
from autograder.simgpu.stats import DeviceStats
from autograder.simgpu.timeline import Timeline
from autograder.simgpu.tuning import Tuning
from autograder.simgpu.waiting import Waiting

__all__ = ["AllocatorSettings", "Block", "CachingAllocator", "OutOfMemory", "stream_key"]

STREAMS_PER_DEVICE = 1 << 32


def stream_key(device: int, stream: int) -> int:
    """The name of a device's stream on a timeline that several devices share."""
    return device * STREAMS_PER_DEVICE + stream


class CachingAllocator(Readings, Tuning, Recording):
    """Hands out blocks of a device with ``capacity`` bytes, and keeps freed ones for reuse.

    Streams are numbered per device, 0 is the default one. A freed block serves its own stream again;
    ``timeline`` says when other streams have finished with it. Before a request fails, each of ``oom_observers`` is called
    with the device, the bytes wanted, those it may have in all and those free (attachOutOfMemoryObserver).
    """

    def __init__(
        self,
        capacity: int,
        *,
        device: int = 0,
        settings: AllocatorSettings | None = None,
        timeline: Timeline | None = None,
    ):
        self.device = device
        self.timeline = Timeline() if timeline is None else timeline
        self.driver = Driver(capacity, device)
        self.counters = DeviceStats()
        self.history = Recorder()
        self.oom_observers: list[Callable[[int, int, int, int], None]] = []
        self.pools = Pools(self, self.counters)
        self.small = self.pools.get(self.pools.small, 0)
        self.large = self.pools.get(self.pools.large, 0)
        self.segments: dict[int, Block] = {}
        self.expandable = ExpandableSegments(self)
        self.waiting = Waiting(self, self.timeline)
        self.releaser = Releaser(self)
        self._growth = Growth(self)
        self._takes_detour = False
        settings = settings or AllocatorSettings()
        self._apply(settings)
        self.memory_fraction = settings.memory_fraction

    # ---------------------------------------------------------------- allocating and freeing

    def malloc(self, nbytes: int, stream: int = 0) -> Block:
        """Return a block of at least ``nbytes`` bytes for a stream (DeviceCachingAllocator::malloc).

        Raises OutOfMemory when the device has no room, even after giving back all cached segments.
        """
        if nbytes < 0:
            raise ValueError(f"expected a size of 0 bytes or more, found {nbytes}")
        size = (nbytes + 511) & -512 or MIN_BLOCK_SIZE
        if self._rounds_up:
            size = self._settings.round_size(nbytes)
        stacks = None if self.stacks_at_alloc is None else self.stacks_at_alloc()
        if stream or self._takes_detour:
            pool = self._pool_by_detour(size, stream, stacks)
        else:
            pool = self.small if size <= SMALL_SIZE else self.large
        if self._takes_smallest:
            index = bisect_left(pool.keys, size << ADDRESS_BITS)
            if index < len(pool.keys):
                del pool.keys[index]
                block = pool.blocks.pop(index)
            else:
                block = self._growth.new_block(pool, size, nbytes, stacks)
                pool = block.pool
        else:
            block = self.find_free_block(pool, size) or self._growth.new_block(pool, size, nbytes, stacks)
            pool = block.pool

        # alloc_found_block: split off what is worth keeping, then count.
        stats = pool.stats
        remaining = block.size - size
        was_split = block.previous is not None or block.next is not None
        if remaining >= pool.smallest_remainder and (size < self._split_limit or pool.is_small):
            pool.insert(block.split_off(size))
            if block.segment is None:
                if was_split:
                    stats.idle_nbytes -= size
                else:
                    self.counters.add_idle(stats, 1, remaining)
        elif was_split and block.segment is None:
            stats.idle_count -= 1
            stats.idle_nbytes -= block.size
        size = block.size
        block.active = True
        block.requested = nbytes
        block.stacks = stacks
        stats.count += 1
        stats.count_total += 1
        stats.nbytes += size
        stats.nbytes_total += size
        stats.requested += nbytes
        stats.requested_total += nbytes
        self.counters.rising = True
        if size >= self._oversize:
            self.counters.oversize_allocations.change(1)
        if self.recorders:
            self.note("alloc", block.address, nbytes, stacks, pool)
        return block

    def free(self, block: Block, *, completed: bool = False, stacks: dict | None = None) -> None:
        """Give a block back: at once, or when the streams it was recorded on are done (free, free_block).

        ``completed``: it was freed before, and they are done now. ``stacks``: who frees it, for the recorders that ask.
        The block object keeps its address and size, but means nothing afterwards.
        """
        counters = self.counters
        if counters.rising:
            counters.fold_peaks()
        pool = block.pool
        stats = pool.stats
        size = block.size
        if completed:
            counters.stop_waiting(stats, size)
        else:
            if not block.active or type(block.uses) is int:
                raise ValueError(f"expected a block that is in use, found {block!r}: was it freed twice?")
            stats.count -= 1
            stats.nbytes -= size
            if size >= self._oversize:
                counters.oversize_allocations.change(-1)
            if self.recorders:
                self.note("free_requested", block.address, block.requested, stacks, pool, block.stacks)
            if block.uses is not None:
                counters.start_waiting(stats, size)
                self.waiting.add(block)
                return
        stats.requested -= block.requested
        if self.recorders:
            self.note("free_completed", block.address, block.requested, stacks, pool, block.stacks)
        block.active = False
        block.stacks = None

        idle_count = 0
        before, after = block.previous, block.next
        if after is not None and not after.active and after.mapped:
            pool.remove(after)
            block.absorb_next()
            idle_count = -1
        if before is not None and not before.active and before.mapped:
            pool.remove(before)
            before.absorb_next()
            block = before
            idle_count -= 1
        pool.insert(block)
        if block.segment is None:
            if block.previous is not None or block.next is not None:
                counters.add_idle(stats, idle_count + 1, size)
            elif idle_count:
                stats.idle_count += idle_count
                stats.idle_nbytes -= block.size - size

    def record_stream(self, block: Block, stream: int, device: int | None = None) -> None:
        """Note that another stream, perhaps of another device, works on a block: once freed, it is not
        reused before that stream has done what was issued to it until then (recordStream)."""
        own = block.pool.stream
        device = self.device if device is None else device
        if stream != own or (own and device != self.device):  # default streams have one handle on all devices
            key = stream_key(device, stream)
            if block.uses is None:
                block.uses = set()
            block.uses.add(key)

    def empty_cache(self, pool_id: tuple[int, int] = DEFAULT_ID) -> None:
        """Wait for freed blocks' streams, and give every segment without a block in use back to the
        device; of a private pool only, if one is named (emptyCache)."""
        self.releaser.release_cached_blocks(pool_id, self.stacks_for_release())

    def begin_pool(self, pool_id: tuple[int, int]) -> None:
        """Serve this thread's requests from a private pool from now on (beginAllocateToPool)."""
        self.pools.begin(pool_id)
        self.choose_path()

    def end_pool(self, pool_id: tuple[int, int]) -> None:
        """Stop doing so, and be one user less (endAllocateToPool, releasePool)."""
        self.pools.end(pool_id)
        self.pools.release(pool_id)
        self.choose_path()

    # ---------------------------------------------------------------- for its parts

    def choose_path(self) -> None:
        """Whether malloc must look at outstanding events or private pools: usually not."""
        self._takes_detour = bool(self.waiting.events or self.pools.routes)

    def _pool_by_detour(self, size: int, stream: int, stacks: dict | None) -> BlockPool:
        if self.waiting.events and not self.pools.routes:
            self.waiting.process(stacks)
        return self.pools.find(size, stream)

    def find_free_block(self, pool: BlockPool, size: int) -> Block | None:
        """Best fit under settings that constrain it (get_free_block)."""
        settings = self._settings
        if self.collects_garbage:
            pool.family.searched()
        index = pool.lower_bound(size)
        index = self.expandable.prefer(pool, index, settings.expandable_segments)
        if index == len(pool.blocks):
            return None
        found = pool.blocks[index]
        if size < settings.max_split_size <= found.size:
            return None
        if size >= settings.max_split_size and found.size >= size + settings.max_non_split_rounding:
            return None
        return pool.take(index)

    def change_reserved(self, pool: BlockPool, segments: int, nbytes: int) -> None:
        """Count memory taken from the device, or with negative numbers given back."""
        self.counters.change_reserved(pool.stats, segments, nbytes)
        if pool.family.owner is not None:
            pool.family.owner.reserved += nbytes

    def stream_key(self, stream: int) -> int:
        """The name of this device's stream on the timeline."""
        return stream_key(self.device, stream)

    def is_mine(self, key: int) -> bool:
        """Whether a stream on the timeline is of this device."""
        return key // STREAMS_PER_DEVICE == self.device
