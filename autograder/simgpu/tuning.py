"""The half of the allocator that is set from outside: settings, capacity, memory fraction."""

from __future__ import annotations

from autograder.simgpu.blocks import MIN_BLOCK_SIZE, SMALL_SIZE
from autograder.simgpu.settings import UNLIMITED, AllocatorSettings


class Tuning:
    """The settings of CachingAllocator, which has the attributes used here. All sizes in bytes."""

    _memory_fraction = 1.0

    @property
    def settings(self) -> AllocatorSettings:
        """How to split, round and grow. Can be changed while memory is in use: each rule asks for the setting of its
        moment, and so do the counts of blocks above the split limit, when a block comes and when it goes."""
        return self._settings

    @settings.setter
    def settings(self, settings: AllocatorSettings) -> None:
        self._apply(settings)

    def _apply(self, settings: AllocatorSettings) -> None:
        self._settings = settings
        self._rounds_up = any(settings.roundup_power2_divisions)
        expandable = settings.expandable_segments
        self._oversize = settings.max_split_size
        self._split_limit = UNLIMITED if expandable else settings.max_split_size  # should_split
        self.pools.set_large_remainder(MIN_BLOCK_SIZE if expandable else SMALL_SIZE + 1)
        self._choose_search()

    def _choose_search(self) -> None:
        """Whether malloc may take the smallest free block that fits without further questions."""
        settings = self._settings
        self.collects_garbage = settings.garbage_collection_threshold > 0 and self.allowed is not None
        self._takes_smallest = (
            not self.collects_garbage
            and not self.expandable.segments
            and not settings.expandable_segments
            and settings.max_split_size == UNLIMITED
        )

    @property
    def capacity(self) -> int:
        """Bytes the device has. Lowering it below what is reserved only stops further growth."""
        return self.driver.capacity

    @capacity.setter
    def capacity(self, nbytes: int) -> None:
        self.driver.capacity = nbytes

    @property
    def memory_fraction(self) -> float:
        """The part of the capacity that may be reserved; 1.0 sets no limit (setMemoryFraction)."""
        return self._memory_fraction

    @memory_fraction.setter
    def memory_fraction(self, fraction: float) -> None:
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"expected a fraction between 0 and 1, found {fraction}")
        self._memory_fraction = fraction
        self._choose_search()

    @property
    def allowed(self) -> int | None:
        """Bytes that may be reserved, or None without a limit (allowed_memory_maximum)."""
        return None if self._memory_fraction >= 1.0 else int(self._memory_fraction * self.capacity)
