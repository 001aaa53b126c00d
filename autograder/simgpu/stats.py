"""Counters with the names and meanings of ``torch.cuda.memory_stats`` (c10's DeviceStats)."""

# ruff: noqa: PLR1730 (a comparison is cheaper than a call of max)

from __future__ import annotations

POOLS = ("all", "small_pool", "large_pool")
PARTS = ("current", "peak", "allocated", "freed")

# memory_stats' name -> the attribute that counts it. "active" is "allocation" and the blocks that
# were freed and wait for another stream.
ATTRIBUTES = {
    "allocation": "count",
    "allocated_bytes": "nbytes",
    "active": "active_count",
    "active_bytes": "active_nbytes",
    "requested_bytes": "requested",
    "inactive_split": "idle_count",
    "inactive_split_bytes": "idle_nbytes",
    "segment": "segments",
    "reserved_bytes": "reserved",
}
COUNTERS = tuple(name for name in ATTRIBUTES.values() if not name.startswith("active"))
EVENTS = (
    "num_alloc_retries",
    "num_ooms",
    "num_sync_all_streams",
    "num_device_alloc",
    "num_device_free",
    "num_oom_rejections",
)


class PoolStats:
    """Counters of one pool: each has its value now, its peak and all increases since the start.

    ``count``, ``nbytes`` and ``requested`` are of the blocks in use; ``idle_count`` and
    ``idle_nbytes`` of free blocks that share a segment and so cannot be released; ``segments``
    and ``reserved`` of what the driver gave; ``waiting_count`` and ``waiting_nbytes`` of blocks that
    were freed and wait for a stream. Sizes are in bytes.
    """

    __slots__ = (
        *(name + part for name in COUNTERS for part in ("", "_peak", "_total")),
        *("waiting_count", "waiting_nbytes", "waited_count_peak", "waited_nbytes_peak"),
    )

    def __init__(self):
        for name in self.__slots__:
            setattr(self, name, 0)

    # What is active grows only by allocations, so until a block waits for the first time its peaks
    # are those of the blocks in use; the waited_ ones are raised from then on.
    active_count = property(lambda self: self.count + self.waiting_count)
    active_nbytes = property(lambda self: self.nbytes + self.waiting_nbytes)
    active_count_total = property(lambda self: self.count_total)
    active_nbytes_total = property(lambda self: self.nbytes_total)
    active_count_peak = property(lambda self: max(self.count_peak, self.waited_count_peak))
    active_nbytes_peak = property(lambda self: max(self.nbytes_peak, self.waited_nbytes_peak))

    def raise_waited_peaks(self, count: int, nbytes: int) -> None:
        """Raise the peaks of what is active to what it is now."""
        self.waited_count_peak = max(self.waited_count_peak, count)
        self.waited_nbytes_peak = max(self.waited_nbytes_peak, nbytes)


class Stat:
    """One counter on its own: value, peak, increases and decreases (c10's Stat)."""

    __slots__ = PARTS

    def __init__(self):
        self.current = self.peak = self.allocated = self.freed = 0

    def change(self, amount: int) -> None:
        """Add an amount, which may be negative (increase_stat, decrease_stat)."""
        self.current += amount
        self.peak = max(self.peak, self.current)
        if amount > 0:
            self.allocated += amount
        else:
            self.freed -= amount


class DeviceStats:
    """All counters of a device.

    ``small`` and ``large`` are changed in place by the allocator's malloc and free, which set
    ``rising``; :meth:`fold_peaks` must run before any of count, nbytes and requested falls.
    """

    __slots__ = (
        "small",
        "large",
        "all_peaks",
        "rising",
        "waited",
        "baseline",
        "oversize_allocations",
        "oversize_segments",
        *EVENTS,
    )

    def __init__(self):
        self.small = PoolStats()
        self.large = PoolStats()
        self.all_peaks = PoolStats()
        self.rising = False
        self.waited = False
        self.baseline: dict[str, int] = {}
        self.oversize_allocations = Stat()
        self.oversize_segments = Stat()
        for name in EVENTS:
            setattr(self, name, 0)

    def fold_peaks(self) -> None:
        """Raise the peaks of blocks in use to what is in use now, per pool and in all."""
        self.rising = False
        small, large, both = self.small, self.large, self.all_peaks
        count, nbytes, requested = small.count, small.nbytes, small.requested
        if count > small.count_peak:
            small.count_peak = count
        if nbytes > small.nbytes_peak:
            small.nbytes_peak = nbytes
        if requested > small.requested_peak:
            small.requested_peak = requested
        if large.count > large.count_peak:
            large.count_peak = large.count
        if large.nbytes > large.nbytes_peak:
            large.nbytes_peak = large.nbytes
        if large.requested > large.requested_peak:
            large.requested_peak = large.requested
        count += large.count
        nbytes += large.nbytes
        requested += large.requested
        if count > both.count_peak:
            both.count_peak = count
        if nbytes > both.nbytes_peak:
            both.nbytes_peak = nbytes
        if requested > both.requested_peak:
            both.requested_peak = requested
        if self.waited:
            self._raise_waited_peaks()

    def _raise_waited_peaks(self) -> None:
        small, large = self.small, self.large
        for pool in (small, large):
            pool.raise_waited_peaks(pool.active_count, pool.active_nbytes)
        self.all_peaks.raise_waited_peaks(
            small.active_count + large.active_count, small.active_nbytes + large.active_nbytes
        )

    def start_waiting(self, pool: PoolStats, nbytes: int) -> None:
        """Count a block that was freed, and is no longer in use, as waiting for a stream."""
        self.waited = True
        pool.waiting_count += 1
        pool.waiting_nbytes += nbytes

    def stop_waiting(self, pool: PoolStats, nbytes: int) -> None:
        """Count such a block as free; peaks must have been folded."""
        pool.waiting_count -= 1
        pool.waiting_nbytes -= nbytes

    def add_idle(self, pool: PoolStats, count: int, nbytes: int) -> None:
        """Add to the free blocks that share a segment; either number may be negative."""
        pool.idle_count += count
        pool.idle_nbytes += nbytes
        if count > 0:
            pool.idle_count_total += count
            if pool.idle_count > pool.idle_count_peak:
                pool.idle_count_peak = pool.idle_count
            both = self.small.idle_count + self.large.idle_count
            if both > self.all_peaks.idle_count_peak:
                self.all_peaks.idle_count_peak = both
        if nbytes > 0:
            pool.idle_nbytes_total += nbytes
            if pool.idle_nbytes > pool.idle_nbytes_peak:
                pool.idle_nbytes_peak = pool.idle_nbytes
            both = self.small.idle_nbytes + self.large.idle_nbytes
            if both > self.all_peaks.idle_nbytes_peak:
                self.all_peaks.idle_nbytes_peak = both

    def change_reserved(self, pool: PoolStats, segments: int, nbytes: int) -> None:
        """Count memory that the driver gave, or with negative numbers took back."""
        for name, amount in (("segments", segments), ("reserved", nbytes)):
            now = getattr(pool, name) + amount
            setattr(pool, name, now)
            if amount > 0:
                setattr(pool, name + "_total", getattr(pool, name + "_total") + amount)
                setattr(pool, name + "_peak", max(getattr(pool, name + "_peak"), now))
                both = getattr(self.small, name) + getattr(self.large, name)
                setattr(self.all_peaks, name + "_peak", max(getattr(self.all_peaks, name + "_peak"), both))

    def _read(self, counter: str, pool: str) -> tuple[int, int, int, int]:
        """(current, peak, all increases, all decreases) of one counter since the start."""
        if pool == "all":
            current = getattr(self.small, counter) + getattr(self.large, counter)
            total = getattr(self.small, counter + "_total") + getattr(self.large, counter + "_total")
            peak = getattr(self.all_peaks, counter + "_peak")
        else:
            stats = self.small if pool == "small_pool" else self.large
            current, peak, total = (getattr(stats, counter + part) for part in ("", "_peak", "_total"))
        return current, peak, total, total - current

    def as_dict(self, max_split_size: int) -> dict[str, int]:
        """The flat dictionary of ``torch.cuda.memory_stats``, sorted by key."""
        self.fold_peaks()
        result = {name: getattr(self, name) for name in EVENTS}
        result["max_split_size"] = max_split_size
        for name, counter in ATTRIBUTES.items():
            for pool in POOLS:
                for part, value in zip(PARTS, self._read(counter, pool)):
                    key = f"{name}.{pool}.{part}"
                    result[key] = value - self.baseline.get(key, 0)
        for name in ("oversize_allocations", "oversize_segments"):
            for part in PARTS:
                result[f"{name}.{part}"] = getattr(getattr(self, name), part)
        return dict(sorted(result.items()))

    def reset_peaks(self) -> None:
        """Set every peak to the present value (resetPeakStats)."""
        for pool in (self.small, self.large, self.all_peaks):
            pool.waited_count_peak = pool.waited_nbytes_peak = 0
        for counter in COUNTERS:
            for pool in (self.small, self.large):
                setattr(pool, counter + "_peak", getattr(pool, counter))
            setattr(self.all_peaks, counter + "_peak", getattr(self.small, counter) + getattr(self.large, counter))
        for stat in (self.oversize_allocations, self.oversize_segments):
            stat.peak = stat.current
        self.rising = False
        if self.waited:
            self._raise_waited_peaks()

    def reset_accumulated(self) -> None:
        """Start the increases, decreases and event counts from zero (resetAccumulatedStats)."""
        for name, counter in ATTRIBUTES.items():
            for pool in POOLS:
                _, _, allocated, freed = self._read(counter, pool)
                self.baseline[f"{name}.{pool}.allocated"] = allocated
                self.baseline[f"{name}.{pool}.freed"] = freed
        for stat in (self.oversize_allocations, self.oversize_segments):
            stat.allocated = stat.freed = 0
        for name in EVENTS:
            setattr(self, name, 0)
