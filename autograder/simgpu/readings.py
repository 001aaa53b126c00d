"""What can be read off an allocator: figures, statistics, snapshots.

Reading changes nothing but the history. A freed block whose streams are done leaves "active" at the next allocation,
as on CUDA, where nothing looks earlier.
"""

from __future__ import annotations

from collections.abc import Iterator

from autograder.simgpu.blocks import Block
from autograder.simgpu.invariants import check
from autograder.simgpu.pools import DEFAULT_ID
from autograder.simgpu.settings import UNLIMITED
from autograder.simgpu.snapshot import take_snapshot


class Readings:
    """The reading half of CachingAllocator, which has the attributes used here. All sizes in bytes."""

    @property
    def allocated(self) -> int:
        """Bytes of the blocks in use."""
        return self.small.stats.nbytes + self.large.stats.nbytes

    @property
    def reserved(self) -> int:
        """Bytes taken from the device, in use or cached."""
        return self.driver.in_use

    @property
    def free_bytes(self) -> int:
        """Bytes of the device that nobody reserved."""
        return self.driver.free

    @property
    def peak_allocated(self) -> int:
        """The largest ``allocated`` since the start or the last reset_peak()."""
        self.counters.fold_peaks()
        return self.counters.all_peaks.nbytes_peak

    @property
    def peak_reserved(self) -> int:
        """The largest ``reserved`` since the start or the last reset_peak()."""
        return self.counters.all_peaks.reserved_peak

    @property
    def allocation_count(self) -> int:
        """How many blocks were ever handed out; no reset touches it."""
        return self.small.stats.count_total + self.large.stats.count_total

    def stats(self) -> dict[str, int]:
        """The dictionary of ``torch.cuda.memory_stats``, sorted by key."""
        limit = self.settings.max_split_size
        return self.counters.as_dict(max_split_size=-1 if limit == UNLIMITED else limit)

    def reset_peak(self) -> None:
        """As ``torch.cuda.reset_peak_memory_stats`` (resetPeakStats)."""
        self.counters.reset_peaks()

    def reset_accumulated(self) -> None:
        """As ``torch.cuda.reset_accumulated_memory_stats`` (resetAccumulatedStats)."""
        self.counters.reset_accumulated()

    def heads(self) -> Iterator[Block]:
        """The first block of every segment, and of every mapped stretch of an expandable one."""
        yield from self.segments.values()
        yield from self.expandable.heads()

    def snapshot(self, pool_id: tuple[int, int] = DEFAULT_ID, recorder=None) -> dict:
        """The dictionary of ``torch.cuda.memory._snapshot()``, of all pools or of one private pool, with the program's
        history or another recorder's."""
        return take_snapshot([self], pool_id, recorder)

    def check_invariants(self) -> None:
        """Raise AssertionError if blocks, pools and counters disagree. For tests: it walks everything."""
        check(self)
