"""Expandable segments: address space for the whole device, filled with memory page by page.

Names in parentheses are the functions of c10/cuda/CUDACachingAllocator.cpp (torch 2.13) that each
rule follows. A segment is a chain of blocks like any other, some of them without memory
(``mapped`` is False); a pool keeps the unmapped ones in the order of their addresses.
"""

from __future__ import annotations

from autograder.simgpu.blocks import SMALL_BUFFER, Block, BlockPool, merge_with_neighbours


class ExpandableSegment:
    """A range of addresses that grows in pages of ``page_size`` bytes; ``first`` is its lowest block."""

    __slots__ = ("address", "first", "page_size", "size")

    def __init__(self, address: int, size: int, page_size: int):
        self.address = address
        self.size = size
        self.page_size = page_size
        self.first: Block | None = None

    def pages_within(self, address: int, size: int) -> tuple[int, int]:
        """(start address, bytes) of the whole pages inside a range; 0 bytes if there is none (unmap)."""
        first = -(-(address - self.address) // self.page_size)
        last = (address + size - self.address) // self.page_size
        return self.address + first * self.page_size, max(0, last - first) * self.page_size

    def pages_covering(self, size: int) -> int:
        """Bytes of the pages needed to hold ``size`` bytes from the start of a page (map)."""
        return -(-size // self.page_size) * self.page_size


class ExpandableSegments:
    """All expandable segments of one allocator."""

    def __init__(self, allocator):
        self._allocator = allocator
        self.segments: list[ExpandableSegment] = []

    def heads(self):
        """The first block of each mapped stretch, as snapshots list them."""
        for segment in self.segments:
            block, after_gap = segment.first, True
            while block is not None:
                if block.mapped and after_gap:
                    yield block
                after_gap = not block.mapped
                block = block.next

    @staticmethod
    def prefer(pool: BlockPool, index: int, enabled: bool) -> int:
        """From the smallest free block that fits, go on to the one to take (get_free_block).

        A block counts with the unmapped space behind it, so that room to grow is taken last. With
        expandable segments switched off again, their blocks are passed over.
        """
        blocks = pool.blocks
        if not enabled:
            while index < len(blocks) and blocks[index].segment is not None:
                index += 1
            return index
        while (
            index + 1 < len(blocks)
            and blocks[index].segment is not None
            and _size_with_room(blocks[index + 1]) < _size_with_room(blocks[index])
        ):
            index += 1
        return index

    def allocate(self, pool: BlockPool, size: int, stacks) -> Block | None:
        """A free block of at least ``size`` bytes, made by mapping pages; None when memory is
        short, in which case pages mapped on the way stay cached (try_allocate_expandable_block).
        """
        block = self._find(pool, size)
        if not block.mapped:
            block = self._map(block, min(block.size, size), stacks)
        while block is not None and block.size < size:
            block = self._map(block.next, min(size - block.size, block.next.size), stacks)
        if block is not None:
            pool.remove(block)
        return block

    def _find(self, pool: BlockPool, size: int) -> Block:
        """The lowest place in any segment with room for ``size``, or a new segment (find_expandable_block)."""
        for block in pool.unmapped:
            before = block.previous
            start = before if before is not None and not before.active else block
            if _has_room(start, size):
                return start
        return self._new_segment(pool)

    def _new_segment(self, pool: BlockPool) -> Block:
        """Reserve addresses for 1 1/8 of the device's memory, so that pages can move within."""
        allocator = self._allocator
        page_size = SMALL_BUFFER if pool.is_small else allocator.settings.large_segment_size
        wanted = allocator.capacity + allocator.capacity // 8
        size = -(-wanted // page_size) * page_size
        segment = ExpandableSegment(allocator.driver.reserve_addresses(size), size, page_size)
        block = Block(segment.address, size, pool, segment)
        block.mapped = False
        segment.first = block
        self.segments.append(segment)
        pool.insert_unmapped(block)
        return block

    def _map(self, block: Block, size: int, stacks) -> Block | None:
        """Put memory behind the first ``size`` bytes of an unmapped block and merge it with free
        neighbours; None when the device has too little (map_block)."""
        allocator, pool = self._allocator, block.pool
        mapped = block.segment.pages_covering(size)
        if not allocator.driver.map(mapped):
            return None
        pool.remove_unmapped(block)
        address = block.address
        block.mapped = True
        if mapped < block.size:
            rest = block.cut(mapped)
            rest.mapped = False
            pool.insert_unmapped(rest)
        block = merge_with_neighbours(block)
        pool.insert(block)
        if block.previous is None and block.segment_stacks is None:
            block.segment_stacks = stacks
        allocator.change_reserved(pool, 0, mapped)
        allocator.counters.num_device_alloc += 1
        allocator.note("segment_map", address, mapped, stacks, pool)
        return block

    def release(self, block: Block, stacks: dict | None = None) -> None:
        """Give the whole pages of a free block back; a segment without any is dropped (unmap_block,
        release_expandable_segment)."""
        allocator, pool, segment = self._allocator, block.pool, block.segment
        address, size = segment.pages_within(block.address, block.size)
        if size == 0:
            return
        pool.remove(block)
        if address > block.address:
            before, block = block, block.cut(address - block.address)
            pool.insert(before)
        if size < block.size:
            pool.insert(block.cut(size))
        allocator.timeline.synchronize(allocator.stream_key(pool.stream))  # unmapHandles
        allocator.driver.unmap(size)
        block.mapped = False
        block = merge_with_neighbours(block)
        pool.insert_unmapped(block)
        allocator.change_reserved(pool, 0, -size)
        allocator.counters.num_device_free += 1
        allocator.note("segment_unmap", address, size, stacks, pool, block.segment_stacks)
        if not block.is_split:
            pool.remove_unmapped(block)
            self.segments.remove(segment)
            allocator.driver.return_addresses(segment.address, segment.size)

    def drop(self, owner) -> None:
        """Return the addresses of a private pool's segments, which hold no memory any more."""
        for segment in [s for s in self.segments if s.first.pool.family.owner is owner]:
            self.segments.remove(segment)
            self._allocator.driver.return_addresses(segment.address, segment.size)


def _size_with_room(block: Block) -> int:
    after = block.next
    return block.size + (after.size if after is not None and not after.mapped else 0)


def _has_room(block: Block | None, size: int) -> bool:
    """Whether free and unmapped blocks from here on are at least ``size`` bytes together."""
    room = 0
    while room < size and block is not None and not block.active:
        room += block.size
        block = block.next
    return room >= size
