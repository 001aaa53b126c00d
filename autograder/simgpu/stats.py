"""Counters with the names and meanings of ``torch.cuda.memory_stats`` (c10's DeviceStats)."""

# ruff: noqa: PLR1730 (a comparison is cheaper than a call of max)

from __future__ import annotations

POOLS = ("all", "small_pool", "large_pool")
PARTS = ("current", "peak", "allocated", "freed")

# memory_stats' name -> the attribute that counts it. "active" also counts blocks that wait for
# another stream; the model has one stream, so it equals "allocation".
ATTRIBUTES = {
    "allocation": "count",
    "allocated_bytes": "nbytes",
    "active": "count",
    "active_bytes": "nbytes",
    "requested_bytes": "requested",
    "inactive_split": "idle_count",
    "inactive_split_bytes": "idle_nbytes",
    "segment": "segments",
    "reserved_bytes": "reserved",
}
COUNTERS = tuple(dict.fromkeys(ATTRIBUTES.values()))
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
    and ``reserved`` of what the driver gave. Sizes are in bytes.
    """

    __slots__ = tuple(name + part for name in COUNTERS for part in ("", "_peak", "_total"))

    def __init__(self):
        for name in self.__slots__:
            setattr(self, name, 0)


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
        for counter in COUNTERS:
            for pool in (self.small, self.large):
                setattr(pool, counter + "_peak", getattr(pool, counter))
            setattr(self.all_peaks, counter + "_peak", getattr(self.small, counter) + getattr(self.large, counter))
        for stat in (self.oversize_allocations, self.oversize_segments):
            stat.peak = stat.current
        self.rising = False

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
