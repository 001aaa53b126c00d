"""The caching allocator: a model of c10::cuda::CUDACachingAllocator for one device and one stream.

Names in parentheses are the functions of c10/cuda/CUDACachingAllocator.cpp (torch 2.13) that each
rule follows. Addresses are made up and no memory is touched. Sizes are in bytes. Nothing here is
thread-safe: the caller serializes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from autograder.simgpu.blocks import ADDRESS_BITS, MIN_BLOCK_SIZE, SMALL_SIZE, Block, BlockPool
from autograder.simgpu.driver import Driver
from autograder.simgpu.expandable import ExpandableSegments
from autograder.simgpu.oom import OutOfMemory, out_of_memory_message
from autograder.simgpu.readings import Readings
from autograder.simgpu.release import Releaser
from autograder.simgpu.settings import UNLIMITED, AllocatorSettings, AllocatorSettingsError
from autograder.simgpu.snapshot import History
from autograder.simgpu.stats import DeviceStats

__all__ = ["AllocatorSettings", "Block", "CachingAllocator", "OutOfMemory"]

MAX_REQUEST = 1 << 60  # kMaxSize: the allocator refuses an exbibyte


class CachingAllocator(Readings):
    """Hands out blocks of a device with ``capacity`` bytes, and keeps freed ones for reuse."""

    def __init__(self, capacity: int, *, device: int = 0, settings: AllocatorSettings | None = None):
        self.device = device
        self.driver = Driver(capacity)
        self.counters = DeviceStats()
        self.small = BlockPool(True, self.counters.small)
        self.large = BlockPool(False, self.counters.large)
        self.segments: dict[int, Block] = {}
        self.expandable = ExpandableSegments(self)
        self.history: History | None = None
        self._frames: Callable[[], list] | None = None
        self._memory_fraction: float | None = None
        self._releaser = Releaser(self)
        self._apply(settings or AllocatorSettings())

    # ---------------------------------------------------------------- allocating and freeing

    def malloc(self, nbytes: int) -> Block:
        """Return a block of at least ``nbytes`` bytes (DeviceCachingAllocator::malloc).

        Raises OutOfMemory when the device has no room, even after giving back all cached segments.
        """
        if nbytes < 0:
            raise ValueError(f"expected a size of 0 bytes or more, found {nbytes}")
        size = (nbytes + 511) & -512 or MIN_BLOCK_SIZE
        if self._rounds_up:
            size = self.settings.round_size(nbytes)
        frames = None if self._frames is None else self._frames()
        pool = self.small if size <= SMALL_SIZE else self.large
        if self._takes_smallest:
            index = bisect_left(pool.keys, size << ADDRESS_BITS)
            if index < len(pool.keys):
                del pool.keys[index]
                block = pool.blocks.pop(index)
            else:
                block = self._new_block(pool, size, frames)
        else:
            block = self._find_free_block(pool, size) or self._new_block(pool, size, frames)

        # alloc_found_block: split off what is worth keeping, then count.
        stats = pool.stats
        remaining = block.size - size
        was_split = block.previous is not None or block.next is not None
        if remaining >= pool.smallest_remainder and size < self._max_split_size:
            pool.insert(block.cut(size))
            if block.segment is None:
                if was_split:
                    stats.idle_nbytes -= size
                else:
                    self.counters.add_idle(stats, 1, remaining)
        elif was_split and block.segment is None:
            stats.idle_count -= 1
            stats.idle_nbytes -= block.size
        size = block.size
        block.allocated = True
        block.requested = nbytes
        block.frames = frames
        stats.count += 1
        stats.count_total += 1
        stats.nbytes += size
        stats.nbytes_total += size
        stats.requested += nbytes
        stats.requested_total += nbytes
        self.counters.rising = True
        if size >= self._max_split_size:
            self.counters.oversize_allocations.change(1)
        if self.history is not None:
            self.history.add("alloc", block.address, nbytes, frames)
        return block

    def free(self, block: Block) -> None:
        """Put a block back into its pool, merged with free neighbours (free, free_block).

        The block object keeps its address and size, but means nothing afterwards.
        """
        if not block.allocated:
            raise ValueError(f"expected a block that is in use, found {block!r}: was it freed twice?")
        counters = self.counters
        if counters.rising:
            counters.fold_peaks()
        pool = block.pool
        stats = pool.stats
        size = block.size
        stats.count -= 1
        stats.nbytes -= size
        stats.requested -= block.requested
        if size >= self._max_split_size:
            counters.oversize_allocations.change(-1)
        if self.history is not None:
            self.history.add("free_requested", block.address, block.requested, block.frames)
            self.history.add("free_completed", block.address, block.requested, block.frames)
        block.allocated = False
        block.frames = None

        idle_count = 0
        idle_nbytes = size
        before, after = block.previous, block.next
        if after is not None and not after.allocated and after.mapped:
            pool.remove(after)
            block.absorb_next()
            idle_count = -1
        if before is not None and not before.allocated and before.mapped:
            pool.remove(before)
            before.absorb_next()
            block = before
            idle_count -= 1
        pool.insert(block)
        if block.segment is None:
            if block.previous is not None or block.next is not None:
                counters.add_idle(stats, idle_count + 1, idle_nbytes)
            elif idle_count:
                stats.idle_count += idle_count
                stats.idle_nbytes -= block.size - size

    def empty_cache(self) -> None:
        """Give every segment without a block in use back to the device (emptyCache)."""
        self._releaser.release_cached_blocks()

    # ---------------------------------------------------------------- looking for memory

    def _find_free_block(self, pool: BlockPool, size: int) -> Block | None:
        """Best fit under settings that constrain it (get_free_block)."""
        settings = self.settings
        if self._collects_garbage:
            pool.searches += 1
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

    def _new_block(self, pool: BlockPool, size: int, frames) -> Block:
        """Get memory from the device, giving cached memory back if it is short (malloc)."""
        if size >= MAX_REQUEST:
            raise OutOfMemory("CUDA out of memory. Tried to allocate more than 1EB memory.")
        releaser = self._releaser
        if self._collects_garbage:
            releaser.collect_garbage()
        block = self._grow(pool, size, frames)
        if block is None and releaser.release_oversize_blocks(pool, size):
            block = self._grow(pool, size, frames)
        if block is None:
            releaser.release_cached_blocks()
            self.counters.num_alloc_retries += 1
            block = self._grow(pool, size, frames)
        if block is None:
            raise OutOfMemory(self._note_out_of_memory(size, frames))
        return block

    def _grow(self, pool: BlockPool, size: int, frames) -> Block | None:
        """A new segment, or more of an expandable one; None when the device is full (alloc_block)."""
        nbytes = self.settings.segment_size(size)
        allowed = self.allowed
        if allowed is not None and self.driver.in_use + nbytes > allowed:
            return None
        if self.settings.expandable_segments:
            return self.expandable.allocate(pool, size, frames)
        address = self.driver.malloc(nbytes)
        if address is None:
            return None
        block = self.segments[address] = Block(address, nbytes, pool)
        block.segment_frames = frames
        self.counters.change_reserved(pool.stats, 1, nbytes)
        self.counters.num_device_alloc += 1
        if nbytes >= self._max_split_size:
            self.counters.oversize_segments.change(1)
        self.note("segment_alloc", address, nbytes, frames)
        return block

    def _note_out_of_memory(self, size: int, frames) -> str:
        self.counters.num_ooms += 1
        self.note("oom", self.free_bytes, size, frames)
        return out_of_memory_message(
            wanted=self.settings.segment_size(size),
            device=self.device,
            capacity=self.capacity,
            free=self.free_bytes,
            allowed=self.allowed,
            reserved=self.reserved,
            allocated=self.allocated,
        )

    # ---------------------------------------------------------------- history

    def record_history(self, enabled: bool, max_entries: int = 100_000, frames=None, *, clear: bool = False) -> None:
        """Keep the last ``max_entries`` actions, or stop and forget them (recordHistory).

        ``frames()``, if given, is called at each allocation and returns where the caller stands:
        a list of {"filename", "line", "name"}, innermost first. It must not allocate.
        """
        kept = () if clear or self.history is None else self.history.entries
        self.history = History(max_entries, kept) if enabled else None
        self._frames = frames if enabled else None

    @property
    def records_history(self) -> bool:
        """Whether a history is being kept."""
        return self.history is not None

    def note(self, action: str, address: int, size: int, frames=None) -> None:
        """Add to the history, if one is kept (record_trace)."""
        if self.history is not None:
            self.history.add(action, address, size, frames)

    # ---------------------------------------------------------------- settings

    @property
    def settings(self) -> AllocatorSettings:
        """How to split, round and grow. Can be changed while memory is in use, except for the
        split limit: blocks above it are counted when they come and when they go."""
        return self._settings

    @settings.setter
    def settings(self, settings: AllocatorSettings) -> None:
        if settings.max_split_size != self._settings.max_split_size and self.driver.in_use:
            raise AllocatorSettingsError(
                "max_split_size_mb can change only while no memory is reserved; "
                f"{self.driver.in_use} bytes are. Delete the tensors and call empty_cache() first."
            )
        self._apply(settings)

    def _apply(self, settings: AllocatorSettings) -> None:
        self._settings = settings
        self._max_split_size = settings.max_split_size
        self._rounds_up = any(settings.roundup_power2_divisions)
        self.large.smallest_remainder = MIN_BLOCK_SIZE if settings.expandable_segments else SMALL_SIZE + 1
        if settings.memory_fraction is not None:
            self._memory_fraction = settings.memory_fraction
        self._choose_search()

    def _choose_search(self) -> None:
        """Whether malloc may take the smallest free block that fits without further questions."""
        settings = self._settings
        self._collects_garbage = settings.garbage_collection_threshold > 0 and self._memory_fraction is not None
        self._takes_smallest = (
            not self._collects_garbage
            and not self.expandable.segments
            and not settings.expandable_segments
            and settings.max_split_size == UNLIMITED
        )

    @property
    def capacity(self) -> int:
        """Bytes the device has. Lowering it below what is reserved only stops further growth."""
        return self.driver.capacity

    @capacity.setter
    def capacity(self, nbytes: int) -> None:
        self.driver.capacity = nbytes

    @property
    def memory_fraction(self) -> float:
        """The part of the capacity that may be reserved (setMemoryFraction); 1.0 if never set."""
        return 1.0 if self._memory_fraction is None else self._memory_fraction

    @memory_fraction.setter
    def memory_fraction(self, fraction: float) -> None:
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"expected a fraction between 0 and 1, found {fraction}")
        self._memory_fraction = fraction
        self._choose_search()

    @property
    def allowed(self) -> int | None:
        """Bytes that may be reserved, or None when no fraction was set."""
        return None if self._memory_fraction is None else int(self._memory_fraction * self.capacity)
