"""The statistics have torch's names: what reads ``torch.cuda.memory_stats`` reads ours."""

import itertools
import re

from autograder.simgpu.allocator import CachingAllocator

MiB = 1 << 20
POOLS = ("all", "large_pool", "small_pool")
PARTS = ("current", "peak", "allocated", "freed")
# _memory_stats of torch/csrc/cuda/Module.cpp (2.13), flattened as torch.cuda.memory_stats does
PER_POOL = (
    "allocation", "segment", "active", "inactive_split",
    "allocated_bytes", "reserved_bytes", "active_bytes", "inactive_split_bytes", "requested_bytes",
)  # fmt: skip
PLAIN = (
    "num_alloc_retries", "num_ooms", "num_sync_all_streams", "num_device_alloc", "num_device_free",
    "num_oom_rejections", "max_split_size",
)  # fmt: skip


def test_the_keys_are_torchs():
    expected = {".".join(parts) for parts in itertools.product(PER_POOL, POOLS, PARTS)}
    expected |= {".".join(parts) for parts in itertools.product(("oversize_allocations", "oversize_segments"), PARTS)}
    stats = CachingAllocator(MiB).stats()
    assert set(stats) == expected | set(PLAIN)
    assert list(stats) == sorted(stats)
    assert all(type(value) is int for value in stats.values())


def test_every_documented_key_is_there():
    """torch's own documentation lists them as ``"name.{pool,...}.{part,...}"``."""
    from torch.cuda import memory_stats

    stats = CachingAllocator(MiB).stats()
    documented = [
        name for name in re.findall(r'``"([a-z_.{},]+)"``', memory_stats.__doc__) if "." in name or "num_" in name
    ]
    assert len(documented) > 10
    for pattern in documented:
        groups = [part.strip("{}").split(",") for part in pattern.split(".")]
        if groups[0] == ["allocated"]:  # the documentation's slip: the key reads "allocation"
            groups[0] = ["allocation"]
        for key in map(".".join, itertools.product(*groups)):
            assert key in stats, f"documented as {pattern}"


def test_torchs_summary_can_be_made_of_it(monkeypatch):
    import torch

    allocator = CachingAllocator(100 * MiB)
    allocator.free(allocator.malloc(30 * MiB))
    allocator.malloc(10 * MiB)
    monkeypatch.setattr(torch.cuda.memory, "memory_stats", lambda device=None: allocator.stats())
    monkeypatch.setattr(torch.cuda.memory, "_get_device_index", lambda device, optional: 0)
    lines = torch.cuda.memory_summary().splitlines()
    allocated = next(line for line in lines if line.startswith("| Allocated memory"))
    assert re.findall(r"(\d+) KiB", allocated) == [str(size << 10) for size in (10, 30, 40, 30)]
