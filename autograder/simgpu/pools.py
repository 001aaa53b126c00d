"""All pools of one allocator: the default ones and private ones, each per stream.

Names in parentheses are of c10/cuda/CUDACachingAllocator.cpp (torch 2.13).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from autograder.simgpu.blocks import MIN_BLOCK_SIZE, SMALL_SIZE, BlockPool, Family

DEFAULT_ID = (0, 0)
NEVER = 1 << 62  # a remainder that no block has: such a pool is never split


class PrivatePool:
    """Memory set apart from the default pools, as by torch.cuda.MemPool (struct PrivatePool).

    ``use_count``: how many hold it; at 0 its cached memory may go back. ``reserved``: bytes it has
    from the device. ``no_split``: its segments are not split. ``use_on_oom``: its cached blocks serve
    other requests before they fail.
    """

    def __init__(self, pool_id: tuple[int, int], counters, *, no_split: bool, use_on_oom: bool):
        self.id = pool_id
        self.no_split = no_split
        self.use_on_oom = use_on_oom
        self.use_count = 1
        self.reserved = 0
        self.small = Family(True, counters.small, self)
        self.large = Family(False, counters.large, self)

    def cached(self) -> int:
        """Bytes in free blocks."""
        return sum(
            block.size for family in (self.small, self.large) for pool in family.in_order() for block in pool.blocks
        )


class Pools:
    """Finds the pool for a request (get_pool)."""

    def __init__(self, allocator, counters):
        self._allocator = allocator
        self._counters = counters
        self.small = Family(True, counters.small)
        self.large = Family(False, counters.large)
        self.private: dict[tuple[int, int], PrivatePool] = {}
        self.routes: list[tuple[PrivatePool, int]] = []
        self._large_remainder = SMALL_SIZE + 1

    def find(self, size: int, stream: int) -> BlockPool:
        """The pool that serves a request: of the innermost private pool this thread allocates to, if any."""
        owner = self._routed_to()
        families = self if owner is None else owner
        return self.get(families.small if size <= SMALL_SIZE else families.large, stream)

    def get(self, family: Family, stream: int) -> BlockPool:
        """A family's pool for a stream."""
        pool = family.pools.get(stream)
        if pool is None:
            pool = family.pools[stream] = BlockPool(self._allocator, family, stream, self._smallest_remainder(family))
        return pool

    def families(self) -> Iterator[Family]:
        """All families, in the order in which cached memory is given back (release_cached_blocks)."""
        yield self.large
        yield self.small
        for private in self.private.values():
            yield private.small
            yield private.large

    def set_large_remainder(self, nbytes: int) -> None:
        """Change from which remainder on large blocks are split."""
        self._large_remainder = nbytes
        for family in self.families():
            for pool in family.pools.values():
                pool.smallest_remainder = self._smallest_remainder(family)

    def _smallest_remainder(self, family: Family) -> int:
        """What is worth splitting off (should_split)."""
        if family.owner is not None and family.owner.no_split:
            return NEVER
        return MIN_BLOCK_SIZE if family.is_small else self._large_remainder

    # ---------------------------------------------------------------- private pools

    def create(self, pool_id: tuple[int, int], *, no_split: bool = False, use_on_oom: bool = False) -> PrivatePool:
        """A new private pool, or one more user of an existing one (create_or_incref_pool)."""
        private = self.private.get(pool_id)
        if private is None:
            private = self.private[pool_id] = PrivatePool(
                pool_id, self._counters, no_split=no_split, use_on_oom=use_on_oom
            )
        else:
            private.use_count += 1
        return private

    def begin(self, pool_id: tuple[int, int]) -> None:
        """Send this thread's requests to a private pool from now on (beginAllocateToPool)."""
        thread = threading.get_ident()
        if any(private.id == pool_id for private, _ in self.routes):
            raise RuntimeError("beginAllocateToPool: already recording to mempool_id")
        self.routes.append((self.create(pool_id), thread))

    def end(self, pool_id: tuple[int, int]) -> None:
        """Stop doing so (endAllocateToPool)."""
        kept = [route for route in self.routes if route[0].id != pool_id]
        if len(kept) == len(self.routes):
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.routes[:] = kept

    def release(self, pool_id: tuple[int, int]) -> None:
        """One user less; without any, the pool's cached memory goes at the next empty_cache (releasePool)."""
        self.private[pool_id].use_count -= 1

    def drop_unused(self) -> list[PrivatePool]:
        """Forget private pools that nobody uses and that hold nothing; return them."""
        unused = [p for p in self.private.values() if p.use_count == 0 and p.reserved == 0]
        for private in unused:
            del self.private[private.id]
        return unused

    def _routed_to(self) -> PrivatePool | None:
        thread = threading.get_ident()
        return next((private for private, owner in reversed(self.routes) if owner == thread), None)
