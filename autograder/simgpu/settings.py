"""Settings of the caching allocator."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.errors import SetupError
from autograder.simgpu.blocks import MIN_BLOCK_SIZE, MIN_LARGE_ALLOC, ROUND_LARGE, SMALL_BUFFER, SMALL_SIZE

UNLIMITED = (1 << 64) - 1  # std::numeric_limits<size_t>::max()


class AllocatorSettingsError(SetupError):
    """The allocator cannot do what a setting asks."""


@dataclass(frozen=True)
class AllocatorSettings:
    """How the allocator splits, rounds and grows. Sizes are in bytes."""

    expandable_segments: bool = False
    max_split_size: int = UNLIMITED
    max_non_split_rounding: int = 20 << 20
    large_segment_size: int = 20 << 20
    garbage_collection_threshold: float = 0.0
    roundup_power2_divisions: tuple[int, ...] = ()
    memory_fraction: float | None = None
    text: str = ""

    def round_size(self, nbytes: int) -> int:
        """The block size for a request (round_size)."""
        return (nbytes + 511) & -512 or MIN_BLOCK_SIZE

    def segment_size(self, size: int) -> int:
        """What to ask the device for when no cached block fits (get_allocation_size)."""
        if size <= SMALL_SIZE:
            return SMALL_BUFFER
        if size < MIN_LARGE_ALLOC:
            return self.large_segment_size
        return -(-size // ROUND_LARGE) * ROUND_LARGE
