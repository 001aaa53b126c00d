"""Settings of the caching allocator, and the text that environment variables give them in.

Limits and defaults are those of c10/core/AllocatorConfig.cpp and c10/cuda/CUDAAllocatorConfig.cpp
(torch 2.13). A setting is modelled, or concerns time and not memory (``_ABOUT_TIME``), or is refused with
the reason (``_REFUSED``); none is accepted and then ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from autograder.errors import AllocatorSettingsError
from autograder.simgpu.blocks import MIN_BLOCK_SIZE, MIN_LARGE_ALLOC, ROUND_LARGE, SMALL_BUFFER, SMALL_SIZE

MiB = 1 << 20
UNLIMITED = (1 << 64) - 1  # std::numeric_limits<size_t>::max()
LARGE_SEGMENT_SIZE = 20 * MiB  # large_segment_size_
MOST_REGISTER_THREADS = 128  # pinned_max_register_threads()
ROUNDUP_INTERVALS = 16  # kRoundUpPowerOfTwoIntervals: 1 MiB to 64 GiB, by powers of two


@dataclass(frozen=True)
class AllocatorSettings:
    """How the allocator splits, rounds and grows. Sizes are in bytes.

    expandable_segments: grow one segment per pool page by page instead of adding segments.
    max_split_size: blocks of this size and above are neither split nor given to smaller requests.
    max_non_split_rounding: how much larger a cached block such a request takes at most; by
        default as much as ``large_segment_size``.
    large_segment_size: the segment for requests from 1 MiB to 10 MiB, and the page of expandable ones.
    garbage_collection_threshold: above this part of what may be reserved, segments that lay unused
        for long are released. Works only with a memory fraction, as on CUDA.
    roundup_power2_divisions: per interval from 1 MiB, 2 MiB, ... to 64 GiB, into how many steps each
        power of two is divided for rounding; 0 and 1 round to 512 bytes. Empty: no such rounding.
    memory_fraction: the part of the device that may be reserved; 1.0 for all, without a limit of its own.
        An allocator takes it when it is made.
    throw_on_cudamalloc_oom: refuse at once what would exceed ``memory_fraction``, without giving cached
        memory back first. As in torch, a fraction below 1.0 is checked before, so this acts only at 1.0.
    pinned_max_round_threshold: pinned host memory above this size is not rounded to a power of two.
    pinned_max_cached_size: nor kept for reuse above this size.
    text: what the settings were parsed from.
    """

    expandable_segments: bool = False
    max_split_size: int = UNLIMITED
    max_non_split_rounding: int | None = None
    large_segment_size: int = LARGE_SEGMENT_SIZE
    garbage_collection_threshold: float = 0.0
    roundup_power2_divisions: tuple[int, ...] = ()
    memory_fraction: float = 1.0
    throw_on_cudamalloc_oom: bool = False
    pinned_max_round_threshold: int = UNLIMITED
    pinned_max_cached_size: int = UNLIMITED
    text: str = field(default="", compare=False)

    def __post_init__(self):
        if self.max_non_split_rounding is None:
            object.__setattr__(self, "max_non_split_rounding", self.large_segment_size)
        for is_met, expected, found in self._rules():
            if not is_met:
                raise AllocatorSettingsError(f"expected {expected}, found {found}.")

    def _rules(self):
        """(whether it is met, what is expected, what was found) for each rule."""
        large, divisions = self.large_segment_size, self.roundup_power2_divisions
        yield large > MIN_LARGE_ALLOC, "large_segment_size_mb above 10", large / MiB
        for name, size in (
            ("max_split_size_mb", self.max_split_size),
            ("max_non_split_rounding_mb", self.max_non_split_rounding),
        ):
            yield size >= large, f"{name} of at least {large // MiB} (large_segment_size_mb)", size / MiB
        threshold = self.garbage_collection_threshold
        yield 0.0 <= threshold < 1.0, "garbage_collection_threshold between 0 and 1, both excluded", threshold
        fraction = self.memory_fraction
        yield 0.0 <= fraction <= 1.0, "memory_fraction from 0 to 1", fraction
        yield len(divisions) in (0, ROUNDUP_INTERVALS), f"{ROUNDUP_INTERVALS} roundup_power2_divisions", len(divisions)
        for value in divisions:
            yield value == 0 or _is_power_of_two(value), "roundup_power2_divisions of 0 or a power of two", value

    def round_size(self, nbytes: int) -> int:
        """The block size for a request (round_size)."""
        if nbytes < MIN_BLOCK_SIZE:
            return MIN_BLOCK_SIZE
        divisions = self._divisions(nbytes)
        if divisions > 1 and nbytes > MIN_BLOCK_SIZE * divisions:
            return _round_up_to_division(nbytes, divisions)
        return -(-nbytes // MIN_BLOCK_SIZE) * MIN_BLOCK_SIZE

    def segment_size(self, size: int) -> int:
        """What to ask the device for when no cached block fits (get_allocation_size)."""
        if size <= SMALL_SIZE:
            return SMALL_BUFFER
        if size < MIN_LARGE_ALLOC:
            return self.large_segment_size
        return -(-size // ROUND_LARGE) * ROUND_LARGE

    def limit(self, capacity: int) -> int:
        """Bytes above which throw_on_cudamalloc_oom refuses (alloc_block)."""
        return int(self.memory_fraction * capacity)

    def _divisions(self, nbytes: int) -> int:
        """The divisions for requests of a size (AcceleratorAllocatorConfig::roundup_power2_divisions)."""
        if not self.roundup_power2_divisions:
            return 0
        interval = nbytes.bit_length() - MiB.bit_length()
        return self.roundup_power2_divisions[min(max(0, interval), ROUNDUP_INTERVALS - 1)]

    @classmethod
    def parse(cls, text: str) -> AllocatorSettings:
        """Read the text of PYTORCH_CUDA_ALLOC_CONF, such as ``"expandable_segments:True"``.

        Raises AllocatorSettingsError for text that torch refuses, and for what is not modelled.
        """
        return cls().updated(text)

    def updated(self, text: str) -> AllocatorSettings:
        """These settings with another text applied, as by torch.cuda.memory._set_allocator_settings.

        max_split_size_mb, roundup_power2_divisions and garbage_collection_threshold go back to their defaults
        unless named; the others stay (AcceleratorAllocatorConfig::parseArgs). Raises AllocatorSettingsError.
        """
        defaults = {f.name: f.default for f in fields(self)}
        values = {name: defaults[name] for name in _RESET_BY_EVERY_TEXT}
        for item in re.split(r",(?![^\[]*\])", "".join(text.split())):
            if not item:
                continue
            key, _, value = item.partition(":")
            if key not in _KEYS:
                raise AllocatorSettingsError(_refusal(key, text))
            name, convert, expected = _KEYS[key]
            try:
                found = convert(value)
            except ValueError:
                raise AllocatorSettingsError(
                    f"expected {key}:{expected}, found {item!r} in the allocator settings {text!r}."
                ) from None
            if name is not None:
                values[name] = found
        if self.max_non_split_rounding == self.large_segment_size:
            values.setdefault("max_non_split_rounding", None)  # it follows the segment size
        return replace(self, text=text, **values)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> AllocatorSettings:
        """The settings of PYTORCH_CUDA_ALLOC_CONF or, without it, of PYTORCH_ALLOC_CONF
        (CUDAAllocatorConfig::instance). Raises AllocatorSettingsError."""
        return cls.parse(text_in(environment))


def text_in(environment: Mapping[str, str]) -> str:
    """The text that counts: PYTORCH_CUDA_ALLOC_CONF or, without it, PYTORCH_ALLOC_CONF; "" without both."""
    text = environment.get("PYTORCH_CUDA_ALLOC_CONF")
    return environment.get("PYTORCH_ALLOC_CONF", "") if text is None else text


def _refusal(key: str, text: str) -> str:
    why = f"is refused: {_REFUSED[key]}" if key in _REFUSED else "is no setting of the allocator"
    return f"{key!r} in the allocator settings {text!r} {why}; it takes {', '.join(sorted(_KEYS))}."


def _boolean(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError
    return text == "True"


def _mebibytes(text: str) -> int:
    return min(int(text) * MiB, UNLIMITED)


def _threshold(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1.0:
        raise ValueError
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


def _register_threads(text: str) -> int:
    value = _power_of_two(text)
    if value > MOST_REGISTER_THREADS:
        raise ValueError
    return value


def _divisions(text: str) -> tuple[int, ...]:
    """One number for all intervals, or a list such as ``[256:1,512:2,>:4]`` in MiB
    (parseRoundUpPower2Divisions): the first entry also holds below it, ``>`` above the last one."""
    listed = re.fullmatch(r"\[(.*)\]", text)
    if not listed:
        return (_power_of_two(text),) * ROUNDUP_INTERVALS
    divisions = [0] * ROUNDUP_INTERVALS
    last = 0
    for position, entry in enumerate(filter(None, listed[1].split(","))):
        start, _, number = entry.partition(":")
        value = 0 if number == "0" else _power_of_two(number)
        if start == ">":
            divisions[last + 1 :] = [value] * (ROUNDUP_INTERVALS - last - 1)
            continue
        last = min(_power_of_two(start).bit_length(), ROUNDUP_INTERVALS) - 1
        divisions[0 if position == 0 else last : last + 1] = [value] * (last + 1 if position == 0 else 1)
    return tuple(divisions)


def _power_of_two(text: str) -> int:
    value = int(text)
    if not _is_power_of_two(value):
        raise ValueError
    return value


def _native(text: str) -> str:
    if text != "native":
        raise ValueError
    return text


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _round_up_to_division(nbytes: int, divisions: int) -> int:
    """The next of ``divisions`` steps between powers of two (roundup_power2_next_division)."""
    step = (1 << nbytes.bit_length() - 1) // divisions
    return -(-nbytes // step) * step


# key in the text -> attribute (None: nothing to model), conversion (ValueError when it fails), what is expected
_KEYS = {
    "backend": (None, _native, "native (cudaMallocAsync is not modelled)"),
    "expandable_segments": ("expandable_segments", _boolean, "True or False"),
    "garbage_collection_threshold": ("garbage_collection_threshold", _threshold, "a number between 0 and 1"),
    "large_segment_size_mb": ("large_segment_size", _mebibytes, "a whole number above 10"),
    "max_non_split_rounding_mb": ("max_non_split_rounding", _mebibytes, "a whole number of MiB"),
    "max_split_size_mb": ("max_split_size", _mebibytes, "a whole number of MiB, at least 20"),
    "per_process_memory_fraction": ("memory_fraction", _fraction, "a number from 0 to 1"),
    "pinned_max_cached_size_mb": ("pinned_max_cached_size", _mebibytes, "a whole number of MiB"),
    "pinned_max_round_threshold_mb": ("pinned_max_round_threshold", _mebibytes, "a whole number of MiB"),
    "roundup_power2_divisions": ("roundup_power2_divisions", _divisions, "a power of two, or [256:1,512:2,>:4]"),
    "throw_on_cudamalloc_oom": ("throw_on_cudamalloc_oom", _boolean, "True or False"),
}
# these change how long something takes, never how much memory it takes
_ABOUT_TIME = {
    "pinned_num_register_threads": (None, _register_threads, "a power of two up to 128"),
    "pinned_use_background_threads": (None, _boolean, "True or False"),
    "pinned_use_cuda_host_register": (None, _boolean, "True or False"),
    "release_lock_on_cudamalloc": (None, _boolean, "True or False"),
}
_KEYS.update(_ABOUT_TIME)
_RESET_BY_EVERY_TEXT = ("max_split_size", "roundup_power2_divisions", "garbage_collection_threshold")
_REFUSED = {
    "graph_capture_record_stream_reuse": "CUDA graphs are not modelled",
    "pinned_free_catch_all": "pinned memory has no users outside the allocator here",
    "pinned_reserve_segment_size_mb": "the simulated GPU reserves no pinned memory ahead",
}
