"""What must hold between operations, checked from scratch. Used by tests."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise


def check(allocator) -> None:
    """Raise AssertionError, naming every rule that does not hold."""
    checks = (_chain_problems, _pool_problems, _waiting_problems, _counter_problems)
    problems = [problem for look in checks for problem in look(allocator)]
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
            if not low.active and not high.active and low.mapped == high.mapped:
                yield f"{low} and {high} should have merged"
    ends = 0
    for block in sorted(all_blocks(allocator), key=lambda block: block.address):
        if block.address < ends:
            yield f"{block} overlaps the one below"
        ends = block.address + block.size


def _pool_problems(allocator):
    free = defaultdict(list)
    for block in all_blocks(allocator):
        if not block.active:
            free[block.pool].append(block)
    for family in allocator.pools.families():
        for pool in family.pools.values():
            mine = free.pop(pool, [])
            mapped = sorted((b for b in mine if b.mapped), key=lambda block: (block.size, block.address))
            name = f"the {'small' if pool.is_small else 'large'} pool of stream {pool.stream}"
            if pool.blocks != mapped or pool.keys != sorted(pool.keys) or len(pool.keys) != len(mapped):
                yield f"{name} does not list its free blocks in order"
            if pool.unmapped != sorted((b for b in mine if not b.mapped), key=lambda block: block.address):
                yield f"{name} does not list its unmapped blocks in order"
    if free:
        yield f"free blocks of forgotten pools: {free}"


def _waiting_problems(allocator):
    events = [block for outstanding in allocator.waiting.events.values() for _, block in outstanding]
    for block in all_blocks(allocator):
        if block.waiting != sum(other is block for other in events) or (block.waiting and not block.active):
            yield f"{block} waits for {block.waiting} events, but others are outstanding"
        if isinstance(block.uses, set) and not block.allocated:
            yield f"{block} is not in use, yet streams use it"


def _counter_problems(allocator):
    stats = allocator.stats()
    blocks = all_blocks(allocator)
    for name, is_small in (("small_pool", True), ("large_pool", False)):
        mine = [block for block in blocks if block.pool.is_small == is_small and block.mapped]
        active = [block for block in mine if block.active]
        used = [block for block in active if block.allocated]
        idle = [b for b in mine if not b.active and b.is_split and b.segment is None]
        expected = {
            "allocation": len(used),
            "allocated_bytes": sum(block.size for block in used),
            "active": len(active),
            "active_bytes": sum(block.size for block in active),
            "requested_bytes": sum(block.requested for block in active),
            "reserved_bytes": sum(block.size for block in mine),
            "segment": sum(first.pool.is_small == is_small for first in allocator.segments.values()),
            "inactive_split": len(idle),
            "inactive_split_bytes": sum(block.size for block in idle),
        }
        for counter, value in expected.items():
            found = stats[f"{counter}.{name}.current"]
            if found != value:
                yield f"{counter}.{name} is {found}, the blocks say {value}"
    for private in allocator.pools.private.values():
        held = sum(block.size for block in blocks if block.mapped and block.pool.family.owner is private)
        if held != private.reserved:
            yield f"private pool {private.id} says it holds {private.reserved} bytes, the blocks say {held}"
    if stats["reserved_bytes.all.current"] != allocator.reserved:
        yield "reserved_bytes and the device disagree"
    for key, value in stats.items():
        if value < 0 and key != "max_split_size":
            yield f"{key} is negative: {value}"
        if key.endswith(".current") and value > stats[key.removesuffix("current") + "peak"]:
            yield f"{key} is above its peak"
