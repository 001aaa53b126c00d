"""The half of the allocator that is set from outside: settings, capacity, memory fraction, history."""

from __future__ import annotations

from collections.abc import Callable

from autograder.simgpu.blocks import MIN_BLOCK_SIZE, SMALL_SIZE
from autograder.simgpu.settings import UNLIMITED, AllocatorSettings, AllocatorSettingsError
from autograder.simgpu.snapshot import ACTIONS, History


class Tuning:
    """The settings of CachingAllocator, which has the attributes used here. All sizes in bytes."""

    _memory_fraction = 1.0
    _frames: Callable[[], list] | None = None
    history: History | None = None

    @property
    def settings(self) -> AllocatorSettings:
        """How to split, round and grow. Can be changed while memory is in use, except for the
        split limit: blocks above it are counted when they come and when they go."""
        return self._settings

    @settings.setter
    def settings(self, settings: AllocatorSettings) -> None:
        if settings.max_split_size != self._settings.max_split_size and self.driver.in_use:
            raise AllocatorSettingsError(
                "max_split_size_mb can change only while no memory is reserved; "
                f"{self.driver.in_use} bytes are. Delete the tensors and call empty_cache() first."
            )
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

    def record_history(
        self, enabled: bool, max_entries: int = 100_000, frames=None, *, clear: bool = False, skipped=()
    ) -> None:
        """Keep the last ``max_entries`` actions, or stop and forget them (recordHistory).

        ``frames()``, if given, is called at each allocation and returns where the caller stands:
        a list of {"filename", "line", "name"}, innermost first. It must not allocate. ``skipped`` names
        actions not to keep. Raises ValueError for one that does not exist.
        """
        unknown = sorted(set(skipped) - set(ACTIONS))
        if unknown:
            raise ValueError(f"expected actions to skip among {', '.join(ACTIONS)}, found {unknown[0]!r}")
        kept = () if clear or self.history is None else self.history.entries
        self.history = History(max_entries, kept, skipped) if enabled else None
        self._frames = frames if enabled else None

    @property
    def records_history(self) -> bool:
        """Whether a history is being kept."""
        return self.history is not None

    def note(self, action: str, address: int, size: int, frames=None, pool=None) -> None:
        """Add to the history, if one is kept (record_trace)."""
        if self.history is not None:
            self.history.add(action, address, size, frames, pool)
