"""Blocks of device memory, and the pools that keep the free ones in best-fit order.

Constants: c10/core/AllocatorConfig.h (torch 2.13), lines 16 to 25. Structures: struct Block and struct BlockPool of
c10/cuda/CUDACachingAllocator.cpp.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

MIN_BLOCK_SIZE = 512  # kMinBlockSize: sizes are rounded up to a multiple of this
SMALL_SIZE = 1 << 20  # kSmallSize: the largest request that the small pool serves
SMALL_BUFFER = 2 << 20  # kSmallBuffer: the size of the small pool's segments
MIN_LARGE_ALLOC = 10 << 20  # kMinLargeAlloc: from here on a request gets a segment of its own size
ROUND_LARGE = 2 << 20  # kRoundLarge: which is rounded up to a multiple of this

ADDRESS_BITS = 56  # a pool sorts by one integer: the size above, the address in the lower bits


class Block:
    """A contiguous piece of a segment: in use, free, or (in expandable segments) without memory.

    ``address`` and ``size`` in bytes; ``requested`` is what was asked for, while ``active``. Active
    means not free: the program uses the block, or freed it while other streams still work on it.
    ``stacks`` are the frames of who allocated it, by recorder (context_when_allocated); ``segment_stacks`` those of
    who made its segment. ``uses`` is None, or the set of those streams while allocated (stream_uses), or the number of
    their outstanding events once freed (event_count). Neighbours are linked by ``previous`` and
    ``next``. When free blocks merge, the lower one stays, so the first block of a segment is the same
    object for the segment's whole life.
    """

    __slots__ = (
        "__weakref__",
        "active",
        "address",
        "mapped",
        "next",
        "pool",
        "previous",
        "requested",
        "searches_when_freed",
        "segment",
        "segment_stacks",
        "size",
        "stacks",
        "uses",
    )  # fmt: skip

    def __init__(self, address, size, pool, segment=None, previous=None, following=None):
        self.address = address
        self.size = size
        self.active = False
        self.uses = None
        self.mapped = True
        self.pool = pool
        self.segment = segment
        self.previous = previous
        self.next = following
        self.stacks = None
        self.segment_stacks = None

    def __repr__(self) -> str:
        kinds = ("allocated", self.allocated), ("waiting", self.waiting), ("free", self.mapped), ("unmapped", True)
        return f"<Block {self.address:#x}, {self.size} bytes, {next(name for name, holds in kinds if holds)}>"

    @property
    def waiting(self) -> int:
        """How many events of other streams must pass before the freed block is free."""
        return self.uses if type(self.uses) is int else 0

    @property
    def allocated(self) -> bool:
        """Whether the program uses the block."""
        return self.active and not self.waiting

    @property
    def is_split(self) -> bool:
        """Whether the block shares its segment with another (Block::is_split)."""
        return self.previous is not None or self.next is not None

    def cut(self, size: int) -> Block:
        """Keep the first ``size`` bytes; return the rest as a new free block."""
        following = self.next
        rest = Block(self.address + size, self.size - size, self.pool, self.segment, self, following)
        if following is not None:
            following.previous = rest
        self.next = rest
        self.size = size
        return rest

    def split_off(self, size: int) -> Block:
        """``cut`` for a request: the rest is CUDA's old block, and keeps who made the segment (alloc_found_block); merged
        again, that is forgotten (try_merge_blocks)."""
        rest = self.cut(size)
        rest.segment_stacks, self.segment_stacks = self.segment_stacks, None
        return rest

    def absorb_next(self) -> None:
        """Take over the next block's range (try_merge_blocks)."""
        absorbed = self.next
        following = self.next = absorbed.next
        if following is not None:
            following.previous = self
        self.size += absorbed.size

    def chain(self):
        """This block and those after it in the segment."""
        block = self
        while block is not None:
            yield block
            block = block.next


class Family:
    """The pools of one kind, small or large, over all streams: one BlockPool of CUDA's allocator.

    ``owner`` is the private pool they belong to, None for the default ones. ``searches`` counts
    lookups while garbage collection is on (get_free_blocks_call_count).
    """

    __slots__ = ("is_small", "owner", "pools", "searches", "stats")

    def __init__(self, is_small: bool, stats, owner=None):
        self.is_small = is_small
        self.stats = stats
        self.owner = owner
        self.searches = 0
        self.pools: dict[int, BlockPool] = {}

    def searched(self) -> None:
        """Count a lookup in any of the pools."""
        self.searches += 1
        for pool in self.pools.values():
            pool.searches = self.searches

    def in_order(self) -> list[BlockPool]:
        """The pools in the order of their streams, as the allocator walks them (BlockComparatorSize)."""
        return [self.pools[stream] for stream in sorted(self.pools)]


class BlockPool:
    """Free blocks of one kind and one stream, by size and then address (BlockComparatorSize).

    ``unmapped`` holds expandable segments' blocks without memory, by address (BlockComparatorAddress).
    ``smallest_remainder`` is the least worth splitting off a block (should_split); ``searches`` its family's.
    """

    __slots__ = (
        *("allocator", "blocks", "family", "is_small", "keys", "searches", "smallest_remainder", "stats", "stream"),
        "unmapped",
    )

    def __init__(self, allocator, family: Family, stream: int, smallest_remainder: int):
        self.allocator = allocator
        self.family = family
        self.stream = stream
        self.searches = family.searches
        self.is_small = family.is_small
        self.stats = family.stats
        self.smallest_remainder = smallest_remainder
        self.keys: list[int] = []
        self.blocks: list[Block] = []
        self.unmapped: list[Block] = []

    def insert(self, block: Block) -> None:
        """Add a free block (BlockPool::insert_into_blocks)."""
        key = block.size << ADDRESS_BITS | block.address
        index = bisect_left(self.keys, key)
        self.keys.insert(index, key)
        self.blocks.insert(index, block)
        block.searches_when_freed = self.searches

    def remove(self, block: Block) -> None:
        """Take out a free block that is in the pool."""
        index = bisect_left(self.keys, block.size << ADDRESS_BITS | block.address)
        del self.keys[index], self.blocks[index]

    def lower_bound(self, size: int) -> int:
        """Index of the smallest free block of at least ``size`` bytes."""
        return bisect_left(self.keys, size << ADDRESS_BITS)

    def take(self, index: int) -> Block:
        """Remove and return the free block at an index."""
        del self.keys[index]
        return self.blocks.pop(index)

    def insert_unmapped(self, block: Block) -> None:
        self.unmapped.insert(bisect_left(self.unmapped, block.address, key=_address), block)

    def remove_unmapped(self, block: Block) -> None:
        del self.unmapped[bisect_left(self.unmapped, block.address, key=_address)]


_address = attrgetter("address")


def merge_with_neighbours(block: Block) -> Block:
    """Merge a block that is in no pool with free neighbours of its kind, mapped or not
    (try_merge_blocks); return the merged block, still in no pool."""
    pool = block.pool
    take_out = pool.remove if block.mapped else pool.remove_unmapped
    before, after = block.previous, block.next
    if after is not None and not after.active and after.mapped == block.mapped:
        take_out(after)
        block.absorb_next()
    if before is not None and not before.active and before.mapped == block.mapped:
        take_out(before)
        before.absorb_next()
        block = before
    return block
