"""What must hold between operations, checked from scratch. Used by tests."""

from __future__ import annotations

from itertools import pairwise


def check(allocator) -> None:
    """Raise AssertionError, naming every rule that does not hold."""
    problems = [*_chain_problems(allocator), *_pool_problems(allocator), *_counter_problems(allocator)]
    if problems:
        raise AssertionError("; ".join(problems))


def _first_blocks(allocator):
    yield from allocator.segments.values()
    for segment in allocator.expandable.segments:
        yield segment.first


def all_blocks(allocator) -> list:
    """Every block, mapped or not, segment by segment."""
    return [block for first in _first_blocks(allocator) for block in first.chain()]


def _chain_problems(allocator):
    for first in _first_blocks(allocator):
        if first.previous is not None:
            yield f"{first} begins a segment but has a block before it"
        for low, high in pairwise(first.chain()):
            if high.previous is not low or high.address != low.address + low.size:
                yield f"{high} does not follow {low}"
            if not low.allocated and not high.allocated and low.mapped == high.mapped:
                yield f"{low} and {high} should have merged"
    ends = 0
    for block in sorted(all_blocks(allocator), key=lambda block: block.address):
        if block.address < ends:
            yield f"{block} overlaps the one below"
        ends = block.address + block.size


def _pool_problems(allocator):
    blocks = all_blocks(allocator)
    for pool in (allocator.small, allocator.large):
        mine = [block for block in blocks if block.pool is pool and not block.allocated]
        free = sorted((block for block in mine if block.mapped), key=lambda block: (block.size, block.address))
        if pool.blocks != free or pool.keys != sorted(pool.keys) or len(pool.keys) != len(free):
            yield f"the {'small' if pool.is_small else 'large'} pool does not list its free blocks in order"
        if pool.unmapped != sorted((b for b in mine if not b.mapped), key=lambda block: block.address):
            yield f"the {'small' if pool.is_small else 'large'} pool does not list its unmapped blocks in order"


def _counter_problems(allocator):
    stats = allocator.stats()
    blocks = all_blocks(allocator)
    for name, pool in (("small_pool", allocator.small), ("large_pool", allocator.large)):
        mine = [block for block in blocks if block.pool is pool and block.mapped]
        used = [block for block in mine if block.allocated]
        idle = [b for b in mine if not b.allocated and b.is_split and b.segment is None]
        expected = {
            "allocation": len(used),
            "allocated_bytes": sum(block.size for block in used),
            "requested_bytes": sum(block.requested for block in used),
            "reserved_bytes": sum(block.size for block in mine),
            "segment": sum(first.pool is pool for first in allocator.segments.values()),
            "inactive_split": len(idle),
            "inactive_split_bytes": sum(block.size for block in idle),
        }
        for counter, value in expected.items():
            found = stats[f"{counter}.{name}.current"]
            if found != value:
                yield f"{counter}.{name} is {found}, the blocks say {value}"
    if stats["reserved_bytes.all.current"] != allocator.reserved:
        yield "reserved_bytes and the device disagree"
    for key, value in stats.items():
        if value < 0 and key != "max_split_size":
            yield f"{key} is negative: {value}"
        if key.endswith(".current") and value > stats[key.removesuffix("current") + "peak"]:
            yield f"{key} is above its peak"
