"""Every setting does what it does on CUDA, or is refused."""

import json
import subprocess
import sys

import pytest

from autograder.errors import AutograderError
from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator, OutOfMemory
from autograder.simgpu.settings import UNLIMITED, AllocatorSettingsError

MiB, GiB = 1 << 20, 1 << 30


def allocator_with(text, capacity=4 * GiB):
    return CachingAllocator(capacity, settings=AllocatorSettings.parse(text))


def test_what_do_the_settings_mean():
    settings = AllocatorSettings.parse(" max_split_size_mb : 64, garbage_collection_threshold:0.8,backend:native, ")
    assert (settings.max_split_size, settings.garbage_collection_threshold) == (64 * MiB, 0.8)
    assert AllocatorSettings.parse("expandable_segments:True").expandable_segments
    assert AllocatorSettings.parse("") == AllocatorSettings()
    assert AllocatorSettings().max_split_size == UNLIMITED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_split_size_mb:19", "at least 20.*found 19"),
        ("max_split_size_mb:many", "max_split_size_mb:a whole number of MiB.*found 'max_split_size_mb:many'"),
        ("max_split_size_mb", "max_split_size_mb:a whole number"),
        ("large_segment_size_mb:10", "above 10"),
        ("max_split_size_mb:20,large_segment_size_mb:40", "at least 40"),
        ("max_non_split_rounding_mb:1", "max_non_split_rounding_mb of at least 20"),
        ("expandable_segments:true", "True or False, found 'expandable_segments:true'"),
        ("garbage_collection_threshold:1", "between 0 and 1"),
        ("per_process_memory_fraction:1.5", "from 0 to 1"),
        ("roundup_power2_divisions:3", "a power of two"),
        ("roundup_power2_divisions:[100:2]", "a power of two"),
        ("roundup_power2_divisions:[64:8", "a power of two"),
        ("backend:cudaMallocAsync", "native"),
        ("throw_on_cudamalloc_oom:true", "throw_on_cudamalloc_oom:True or False"),
        ("pinned_num_register_threads:3", "a power of two up to 128"),
        ("pinned_num_register_threads:256", "a power of two up to 128"),
        ("pinned_max_cached_size_mb:much", "a whole number of MiB"),
        (
            "graph_capture_record_stream_reuse:True",
            "is refused: CUDA graphs are not modelled; it takes backend, expand",
        ),
        ("pinned_reserve_segment_size_mb:1", "reserves no pinned memory ahead"),
        ("expandable_segmets:True", "'expandable_segmets'.*no setting of the allocator; it takes"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(text, message):
    with pytest.raises(AllocatorSettingsError, match=message) as caught:
        AllocatorSettings.parse(text)
    assert isinstance(caught.value, AutograderError)


@pytest.mark.parametrize(
    ("environment", "expandable"),
    [
        ({}, False),
        ({"PYTORCH_ALLOC_CONF": "expandable_segments:True"}, True),
        ({"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}, True),
        ({"PYTORCH_ALLOC_CONF": "expandable_segments:True", "PYTORCH_CUDA_ALLOC_CONF": ""}, False),
    ],
)
def test_which_environment_variable_counts(environment, expandable):
    """Both are read; PYTORCH_CUDA_ALLOC_CONF wins, even when it is empty."""
    assert AllocatorSettings.from_environment(environment).expandable_segments == expandable


def test_which_settings_does_a_later_text_keep():
    first = AllocatorSettings.parse("max_split_size_mb:40,expandable_segments:True,garbage_collection_threshold:0.5")
    second = first.updated("roundup_power2_divisions:4")
    assert (second.expandable_segments, second.max_split_size, second.garbage_collection_threshold) == (
        True, UNLIMITED, 0.0,
    )  # fmt: skip
    assert second.updated("").roundup_power2_divisions == ()


def test_what_concerns_only_time_is_taken():
    text = "release_lock_on_cudamalloc:True,pinned_use_background_threads:True,pinned_num_register_threads:8"
    assert AllocatorSettings.parse(text) == AllocatorSettings()
    pinned = AllocatorSettings.parse("pinned_max_round_threshold_mb:3,pinned_max_cached_size_mb:7")
    assert (pinned.pinned_max_round_threshold, pinned.pinned_max_cached_size) == (3 * MiB, 7 * MiB)


def test_settings_made_by_hand_are_checked_too():
    with pytest.raises(AllocatorSettingsError, match="at least 20"):
        AllocatorSettings(max_split_size=1)
    with pytest.raises(AllocatorSettingsError, match="16 roundup_power2_divisions, found 1"):
        AllocatorSettings(roundup_power2_divisions=(4,))


ASK_TORCH = """
import ctypes, json, sys, torch
set_settings = torch._C._accelerator_setAllocatorSettings
library = ctypes.CDLL(torch.__path__[0] + "/lib/libc10.so")
divisions = library._ZN3c1016CachingAllocator26AcceleratorAllocatorConfig24roundup_power2_divisionsEm
divisions.restype, divisions.argtypes = ctypes.c_size_t, [ctypes.c_size_t]
answers = []
for text in json.load(sys.stdin):
    try:
        set_settings(text)
        answers.append([divisions(1 << 20 + interval) for interval in range(16)])
    except (ValueError, RuntimeError):
        answers.append(None)
    set_settings("large_segment_size_mb:20,roundup_power2_divisions:1")
json.dump(answers, sys.stdout)
"""


def test_does_torch_read_the_same_text_the_same_way():
    """The parser of torch itself accepts the same settings, and rounds with the same divisions."""
    texts = [
        "max_split_size_mb:20", "max_split_size_mb:19", "max_split_size_mb:x", "max_split_size_mb",
        "large_segment_size_mb:10", "large_segment_size_mb:12", "large_segment_size_mb:40,max_split_size_mb:20",
        "max_split_size_mb:20,large_segment_size_mb:40", "max_non_split_rounding_mb:19", "max_non_split_rounding_mb:30",
        "garbage_collection_threshold:0", "garbage_collection_threshold:1", "garbage_collection_threshold:0.3",
        "expandable_segments:True", "expandable_segments:true", "expandable_segments:False,",
        "roundup_power2_divisions:4", "roundup_power2_divisions:0", "roundup_power2_divisions:6",
        "roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", "roundup_power2_divisions:[64:8,256:4,1024:0,>:1]",
        "roundup_power2_divisions:[>:8]", "roundup_power2_divisions:[131072:8]", "roundup_power2_divisions:[1:4,]",
        "pinned_max_round_threshold_mb:0", "pinned_max_cached_size_mb:7", "pinned_max_cached_size_mb:x",
        "pinned_use_background_threads:true", "pinned_use_background_threads:True", "garbage_collection_threshold:nan",
        "roundup_power2_divisions:[3:8]", "roundup_power2_divisions:[4:3]", "roundup_power2_divisions:[4:8",
    ]  # fmt: skip
    command = [sys.executable, "-c", ASK_TORCH]
    asked = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    if "AttributeError" in asked.stderr or "OSError" in asked.stderr:
        pytest.skip("this torch does not show its parser")
    for text, answer in zip(texts, json.loads(asked.stdout), strict=True):
        try:
            ours = AllocatorSettings.parse(text).roundup_power2_divisions
        except AllocatorSettingsError:
            assert answer is None, f"torch accepts {text!r}"
        else:
            assert answer is not None, f"torch refuses {text!r}"
            if "roundup" in text:
                assert list(ours) == answer, text


@pytest.mark.parametrize(
    ("text", "nbytes", "size"),
    [
        ("roundup_power2_divisions:4", 1200, 1536),
        ("roundup_power2_divisions:4", 2 * MiB + 1, 2 * MiB + 512 * 1024),
        ("roundup_power2_divisions:4", 2 * MiB, 2 * MiB),
        ("roundup_power2_divisions:4", 7 * MiB + 1, 8 * MiB),
        ("roundup_power2_divisions:1", 2 * MiB + 1, 2 * MiB + 512),
        ("roundup_power2_divisions:[4:2,>:8]", 3 * MiB + 1, 4 * MiB),
        ("roundup_power2_divisions:[4:2,>:8]", 33 * MiB, 36 * MiB),
        ("roundup_power2_divisions:[1:0,>:8]", 1 * MiB + 1, 1 * MiB + 512),
        ("roundup_power2_divisions:4", 100 * GiB + 1, 112 * GiB),
        ("roundup_power2_divisions:[16384:2,>:4]", 33 * GiB, 40 * GiB),
    ],
)
def test_how_power_of_two_divisions_round(text, nbytes, size):
    assert allocator_with(text, 1 << 40).malloc(nbytes).size == size


def test_a_request_below_the_divisions_is_rounded_to_512_bytes():
    """2,048 bytes would be steps of 512 with 4 divisions; up to 512 times the divisions nothing changes."""
    assert allocator_with("roundup_power2_divisions:8").malloc(4000).size == 4096
    assert allocator_with("roundup_power2_divisions:8").malloc(3000).size == 3072


class TestMaxSplitSize:
    def test_a_block_above_the_limit_is_not_split(self):
        allocator = allocator_with("max_split_size_mb:20")
        allocator.free(allocator.malloc(40 * MiB))
        block = allocator.malloc(30 * MiB)
        assert (block.size, allocator.reserved) == (40 * MiB, 40 * MiB)

    def test_it_is_not_given_to_a_request_below_the_limit(self):
        allocator = allocator_with("max_split_size_mb:20")
        allocator.free(allocator.malloc(40 * MiB))
        allocator.malloc(5 * MiB)
        assert allocator.reserved == 60 * MiB

    @pytest.mark.parametrize(("rounding", "reserved"), [(20, 80), (40, 50)])
    def test_how_much_larger_than_the_request_may_it_be(self, rounding, reserved):
        """50 MiB for 30 MiB: 20 MiB too large by default; fine when 40 MiB may be wasted."""
        allocator = allocator_with(f"max_split_size_mb:20,max_non_split_rounding_mb:{rounding}")
        allocator.free(allocator.malloc(50 * MiB))
        allocator.malloc(30 * MiB)
        assert allocator.reserved == reserved * MiB

    def test_only_as_much_as_needed_is_released(self):
        """GIVEN 30, 50 and 90 MiB cached in 200 MiB, WHEN 35 MiB are missing, THEN 50 MiB go and no more."""
        allocator = allocator_with("max_split_size_mb:20", 200 * MiB)
        blocks = [allocator.malloc(size * MiB) for size in (30, 50, 90)]
        kept = allocator.malloc(10 * MiB)
        for block in blocks:
            allocator.free(block)
        allocator.malloc(22 * MiB)  # in the 30 MiB
        allocator.malloc(65 * MiB)  # the 90 MiB are 25 too large: the device has 20, so 90 go
        assert kept.allocated
        assert allocator.reserved == (30 + 50 + 10 + 66) * MiB
        assert allocator.stats()["num_alloc_retries"] == 0

    def test_blocks_too_small_together_do_not_count(self):
        """GIVEN 2 x 30 MiB cached in 100 MiB, WHEN 80 MiB are asked for, THEN those 60 MiB are not
        enough by themselves, and the whole cache goes."""
        allocator = allocator_with("max_split_size_mb:20", 100 * MiB)
        for block in [allocator.malloc(30 * MiB) for _ in range(2)]:
            allocator.free(block)
        allocator.malloc(80 * MiB)
        assert allocator.stats()["num_alloc_retries"] == 1

    def test_oversize_blocks_are_counted(self):
        allocator = allocator_with("max_split_size_mb:20")
        allocator.free(allocator.malloc(40 * MiB))
        allocator.malloc(5 * MiB)
        stats = allocator.stats()
        assert (stats["oversize_allocations.allocated"], stats["oversize_allocations.current"]) == (1, 0)
        assert stats["oversize_segments.current"] == 2, "the 40 MiB, and the 20 MiB that 5 MiB were cut from"
        assert stats["max_split_size"] == 20 * MiB
        allocator.empty_cache()
        stats = allocator.stats()
        assert (stats["oversize_segments.freed"], stats["oversize_segments.peak"]) == (1, 2)
        allocator.reset_peak()
        allocator.reset_accumulated()
        stats = allocator.stats()
        assert (stats["oversize_segments.freed"], stats["oversize_segments.peak"]) == (0, 1)

    def test_it_may_change_while_memory_is_reserved(self):
        """GIVEN 60 MiB cached WHEN blocks of 40 MiB and above are no longer split THEN 10 MiB get a segment of their own,
        and WHEN they are again THEN they are cut from the 60."""
        allocator = CachingAllocator(1024 * MiB)
        allocator.free(allocator.malloc(60 * MiB))
        allocator.settings = AllocatorSettings.parse("max_split_size_mb:40")
        block = allocator.malloc(10 * MiB)
        assert allocator.reserved == 70 * MiB and allocator.settings.max_split_size == 40 * MiB
        allocator.settings = AllocatorSettings()
        assert allocator.malloc(12 * MiB).is_split and allocator.reserved == 70 * MiB
        assert allocator.settings.max_split_size == UNLIMITED and not block.is_split

    def test_each_count_of_oversize_blocks_asks_for_the_limit_of_its_moment(self):
        """As CUDA's: a block that came uncounted is taken off when it goes under a limit that it exceeds (free)."""
        allocator = CachingAllocator(1024 * MiB)
        blocks = [allocator.malloc(60 * MiB) for _ in range(2)]
        allocator.settings = AllocatorSettings.parse("max_split_size_mb:40")
        blocks.append(allocator.malloc(60 * MiB))
        assert allocator.stats()["oversize_allocations.current"] == 1
        for block in blocks:
            allocator.free(block)
        stats = allocator.stats()
        assert (stats["oversize_allocations.current"], stats["oversize_segments.current"]) == (-2, 1)
        allocator.empty_cache()
        assert allocator.stats()["oversize_segments.current"] == -2


def test_large_segment_size_is_the_segment_and_the_page():
    allocator = allocator_with("large_segment_size_mb:40")
    allocator.malloc(2 * MiB)
    assert allocator.reserved == 40 * MiB
    allocator = allocator_with("large_segment_size_mb:12,expandable_segments:True")
    allocator.malloc(13 * MiB)
    assert allocator.reserved == 24 * MiB


class TestGarbageCollection:
    """GIVEN segments of 100, 20 and 30 MiB cached in 400 MiB, only the last used again and again,
    WHEN 200 MiB more are asked for."""

    def reserved(self, text, fraction):
        allocator = allocator_with(text, 400 * MiB)
        allocator.memory_fraction = fraction
        for block in [allocator.malloc(size * MiB) for size in (100, 20, 30)]:
            allocator.free(block)
        for _ in range(20):
            allocator.free(allocator.malloc(30 * MiB))
        allocator.malloc(200 * MiB)
        assert allocator.stats()["num_alloc_retries"] == 0
        return allocator.reserved // MiB

    def test_segments_unused_for_long_go(self):
        """Above 120 MiB: those of 100 and 20 MiB are released, the one in use stays."""
        assert self.reserved("garbage_collection_threshold:0.3", 0.99) == 30 + 200

    @pytest.mark.parametrize(("text", "fraction"), [("", 0.99), ("garbage_collection_threshold:0.3", 1.0)])
    def test_without_a_threshold_or_a_fraction_nothing_goes(self, text, fraction):
        assert self.reserved(text, fraction) == 100 + 20 + 30 + 200

    def test_below_the_threshold_nothing_goes(self):
        assert self.reserved("garbage_collection_threshold:0.9", 0.99) == 100 + 20 + 30 + 200


class TestExpandableWithMaxSplitSize:
    """torch takes both: the limit then decides which cached blocks a request may take, not whether they are split."""

    def test_a_block_above_the_limit_is_split_but_not_given_to_smaller_requests(self):
        """GIVEN 60 MiB free in one piece WHEN 5 MiB come THEN they are cut from it, by way of growing the segment."""
        allocator = allocator_with("expandable_segments:True,max_split_size_mb:40")
        allocator.free(allocator.malloc(60 * MiB))
        assert allocator.malloc(5 * MiB).size == 5 * MiB
        assert allocator.reserved == 60 * MiB, "find_expandable_block takes the free piece before the unmapped space"

    def test_a_request_above_the_limit_takes_what_is_not_much_larger_and_splits_it(self):
        allocator = allocator_with("expandable_segments:True,max_split_size_mb:40")
        allocator.free(allocator.malloc(60 * MiB))
        assert allocator.malloc(45 * MiB).size == 45 * MiB
        assert allocator.reserved == 60 * MiB

    def test_blocks_of_expandable_segments_are_not_released_one_by_one(self):
        allocator = allocator_with("expandable_segments:True,max_split_size_mb:20", 100 * MiB)
        for block in [allocator.malloc(size * MiB) for size in (40, 40)]:
            allocator.free(block)
        allocator.malloc(100 * MiB)
        assert allocator.stats()["num_alloc_retries"] == 0, "the free 80 MiB and one page more"


class TestThrowOnCudamallocOom:
    def test_is_a_request_refused_without_a_retry(self):
        """GIVEN 60 of 100 MiB cached WHEN 80 MiB come THEN they are refused although releasing the cache would do."""
        allocator = allocator_with("throw_on_cudamalloc_oom:True", 100 * MiB)
        allocator.free(allocator.malloc(60 * MiB))
        with pytest.raises(
            OutOfMemory, match=r"rejected because it would exceed per_process.*Requested size: 80\.00 MiB"
        ):
            allocator.malloc(80 * MiB)
        stats = allocator.stats()
        assert (stats["num_oom_rejections"], stats["num_ooms"], stats["num_alloc_retries"]) == (1, 0, 0)
        assert allocator.reserved == 60 * MiB

    def test_a_fraction_below_one_is_asked_first(self):
        """alloc_block returns before the check, so the cache is released and the request served."""
        allocator = allocator_with("throw_on_cudamalloc_oom:True,per_process_memory_fraction:0.8", 100 * MiB)
        allocator.free(allocator.malloc(60 * MiB))
        assert allocator.malloc(80 * MiB).size == 80 * MiB
        assert allocator.stats()["num_oom_rejections"] == 0


def test_a_memory_fraction_limits_what_is_reserved():
    allocator = allocator_with("per_process_memory_fraction:0.25", 100 * MiB)
    assert (allocator.memory_fraction, allocator.allowed) == (0.25, 25 * MiB)
    with pytest.raises(OutOfMemory):
        allocator.malloc(26 * MiB)
    allocator.memory_fraction = 0.5
    assert allocator.malloc(26 * MiB).size == 26 * MiB
    with pytest.raises(ValueError, match="between 0 and 1, found 2"):
        allocator.memory_fraction = 2


def test_a_fraction_of_one_in_the_text_sets_no_limit():
    with pytest.raises(OutOfMemory) as caught:
        allocator_with("per_process_memory_fraction:1", 100 * MiB).malloc(101 * MiB)
    assert "allowed" not in str(caught.value)


def test_expandable_segments_can_be_switched_off_and_on():
    """GIVEN free room in an expandable segment, WHEN switched off, THEN it is passed over."""
    allocator = allocator_with("expandable_segments:True")
    allocator.free(allocator.malloc(15 * MiB))
    allocator.settings = AllocatorSettings()
    assert allocator.malloc(15 * MiB).segment is None
    allocator.settings = AllocatorSettings(expandable_segments=True)
    assert allocator.malloc(15 * MiB).segment is not None
    assert allocator.reserved == (20 + 16) * MiB
