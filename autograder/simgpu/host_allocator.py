"""A model of PyTorch's caching allocator of pinned host memory; it imports no torch and stores nothing.

Rules of at/core/CachingHostAllocator.h (torch 2.13): sizes are rounded up to a power of two, blocks are never split, a
freed block is kept for the next request of the same rounded size, and only empty_cache() gives blocks back. Not
modelled: a block used by a non-blocking copy becomes free only when the copy has finished; here it has.
"""

from __future__ import annotations

from collections import Counter, deque

_METRICS = ("allocations", "allocated_bytes", "active_requests", "active_bytes")
_KINDS = ("current", "peak", "allocated", "freed")


class Pinned:
    """The mark on a pinned storage: when it dies, its block of ``size`` bytes goes back to the cache."""

    __slots__ = ("_returned", "size")

    def __init__(self, size: int, returned: deque):
        self.size = size
        self._returned = returned

    def __del__(self):
        self._returned.append(self.size)  # may run inside the garbage collector: only a queue is touched


class HostAllocator:
    """Counts pinned blocks; ``stats()`` has the keys of torch.cuda.host_memory_stats(), without the timings."""

    def __init__(self):
        self._cached: Counter[int] = Counter()
        self._returned: deque[int] = deque()
        self._stats = {f"{metric}.{kind}": 0 for metric in _METRICS for kind in _KINDS}
        self._stats |= {"num_host_alloc": 0, "num_host_free": 0}

    def malloc(self, nbytes: int) -> Pinned | None:
        """A block of at least ``nbytes``, from the cache if one of its rounded size is there; None for no bytes."""
        if nbytes == 0:
            return None
        self._drain()
        size = 1 << (nbytes - 1).bit_length()
        if self._cached[size]:
            self._cached[size] -= 1
        else:
            self._stats["num_host_alloc"] += 1
            self._change("allocations", "allocated_bytes", 1, size)
        self._change("active_requests", "active_bytes", 1, size)
        return Pinned(size, self._returned)

    def empty_cache(self) -> None:
        """Give every block that nobody uses back to the system."""
        self._drain()
        for size, count in self._cached.items():
            self._stats["num_host_free"] += count
            self._change("allocations", "allocated_bytes", -count, size)
        self._cached.clear()

    def stats(self) -> dict[str, int]:
        """Blocks and bytes owned (in use or cached) and in use: current, peak, and what was added and taken so far."""
        self._drain()
        return dict(sorted(self._stats.items()))

    def reset_peak(self) -> None:
        """Let the peaks start again from now."""
        self._drain()
        for metric in _METRICS:
            self._stats[f"{metric}.peak"] = self._stats[f"{metric}.current"]

    def reset_accumulated(self) -> None:
        """Set what was added and taken so far to zero."""
        self._drain()
        for metric in _METRICS:
            self._stats[f"{metric}.allocated"] = self._stats[f"{metric}.freed"] = 0
        self._stats["num_host_alloc"] = self._stats["num_host_free"] = 0

    def _drain(self):
        while self._returned:
            size = self._returned.popleft()
            self._cached[size] += 1
            self._change("active_requests", "active_bytes", -1, size)

    def _change(self, count_metric, bytes_metric, count, size):
        for metric, amount in ((count_metric, count), (bytes_metric, count * size)):
            self._stats[f"{metric}.current"] += amount
            self._stats[f"{metric}.{'allocated' if amount > 0 else 'freed'}"] += abs(amount)
            self._stats[f"{metric}.peak"] = max(self._stats[f"{metric}.peak"], self._stats[f"{metric}.current"])
