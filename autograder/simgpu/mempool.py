"""torch.simgpu.MemPool: memory set apart from the rest, as torch.cuda.MemPool (torch/cuda/memory.py, 2.13)."""

from __future__ import annotations

import contextlib
import functools
import itertools

from autograder.simgpu.devices import DEVICES
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.snapshot import take_snapshot

_numbers = itertools.count(1)


class MemPool:
    """A private pool of one device's allocator; while this object lives, its cached memory is kept for it.

    Parameters
    ----------
    allocator : None
        Pluggable allocators are not modelled.
    use_on_oom : bool
        May its cached blocks serve other requests before they fail?
    no_split : bool
        Should its segments be handed out whole?
    """

    def __init__(self, allocator=None, use_on_oom: bool = False, no_split: bool = False):
        if allocator is not None:
            raise NotImplementedError("the simulated GPU models PyTorch's own allocator only: pass allocator=None")
        self.allocator = None
        self.id = (0, next(_numbers))
        self._allocator = LEDGER.allocators[DEVICES.current()]
        self._allocator.pools.create(self.id, use_on_oom=use_on_oom, no_split=no_split)

    def use_count(self) -> int:
        """How many hold the pool: this object, and each use_mem_pool block under way."""
        return self._allocator.pools.private[self.id].use_count

    def snapshot(self, include_traces: bool = True) -> list[dict]:
        """The pool's segments, as torch.cuda.memory_snapshot lists them."""
        LEDGER.drain()
        return take_snapshot(LEDGER.allocators, self.id)["segments"]

    def __del__(self):
        if hasattr(
            self, "_allocator"
        ):  # at the next allocation or question: the collector may run in the middle of one
            LEDGER.do_later(functools.partial(_drop, self._allocator, self.id))


def _drop(allocator, pool_id) -> None:
    """Nobody uses the pool any more: what it caches goes back (MemPool::~MemPool, ATen/cuda/MemPool.cpp)."""
    allocator.pools.release(pool_id)
    allocator.empty_cache(pool_id)


@contextlib.contextmanager
def use_mem_pool(pool: MemPool, device=None):
    """``with use_mem_pool(pool):`` this thread's allocations on a device come from the pool."""
    allocator = LEDGER.allocators[DEVICES.resolve(device)]
    LEDGER.drain()
    allocator.begin_pool(pool.id)
    try:
        yield
    finally:
        allocator.end_pool(pool.id)
