"""torch.simgpu.memory: the memory functions of torch.cuda.memory, over the simulated allocator. Sizes are bytes."""

from __future__ import annotations

import collections
import pickle
import sys
import types

import torch

from autograder.simgpu import frames
from autograder.simgpu.ledger import LEDGER


def _allocator():
    LEDGER.drain()
    return LEDGER.allocator


def memory_allocated(device=None) -> int:
    """Bytes of blocks in use now."""
    return _allocator().allocated


def max_memory_allocated(device=None) -> int:
    """Most bytes in use at once since the start or reset_peak_memory_stats()."""
    return _allocator().peak_allocated


def memory_reserved(device=None) -> int:
    """Bytes of segments taken from the device, in use or cached."""
    return _allocator().reserved


def max_memory_reserved(device=None) -> int:
    """Most bytes reserved at once."""
    return _allocator().peak_reserved


def reset_peak_memory_stats(device=None) -> None:
    """Let the peaks start again from now."""
    LEDGER.reset_peak()


def reset_accumulated_memory_stats(device=None) -> None:
    """Set the cumulative counts in memory_stats() to zero."""
    _allocator().reset_accumulated()


def memory_stats(device=None) -> dict:
    """All figures, keyed as torch.cuda.memory_stats does."""
    return collections.OrderedDict(_allocator().stats())


def memory_stats_as_nested_dict(device=None) -> dict:
    """memory_stats() as a tree."""
    tree: dict = {}
    for key, value in memory_stats().items():
        *path, leaf = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def empty_cache() -> None:
    """Give cached segments that are wholly free back to the device."""
    LEDGER.drain()
    LEDGER.allocator.empty_cache()


def mem_get_info(device=None) -> tuple[int, int]:
    """(free, total) bytes of the device; cached memory is not free."""
    allocator = _allocator()
    return max(allocator.free_bytes, 0), allocator.capacity


def set_capacity(nbytes: int) -> None:
    """Change the size of the simulated device."""
    LEDGER.drain()
    LEDGER.allocator.capacity = int(nbytes)


def set_per_process_memory_fraction(fraction: float, device=None) -> None:
    """Let this process use only a part of the device."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    _allocator().memory_fraction = fraction


def memory_summary(device=None, abbreviated: bool = False) -> str:
    """The table of torch.cuda.memory_summary: PyTorch's own code, run over our figures."""
    source = torch.cuda.memory.memory_summary
    names = dict(vars(torch.cuda.memory), memory_stats=memory_stats, _get_device_index=lambda *a, **k: 0)
    return types.FunctionType(source.__code__, names)(0, abbreviated)


def memory_snapshot(mempool_id=None) -> list[dict]:
    """The segments and their blocks."""
    return _snapshot()["segments"]


def _snapshot(device=None) -> dict:
    """Segments and recorded events, in the format of torch.cuda.memory._snapshot()."""
    return _allocator().snapshot()


def _dump_snapshot(filename: str = "dump_snapshot.pickle") -> None:
    """Write a snapshot for https://pytorch.org/memory_viz."""
    with open(filename, "wb") as file:
        pickle.dump(_snapshot(), file)


def _record_memory_history(
    enabled="all", context="all", stacks="all", max_entries: int = sys.maxsize, device=None, **kwargs
) -> None:
    """Start (``"all"``, ``"state"``) or stop (``None``) recording events with the Python stack of each allocation."""
    where = frames.stack if context else None
    _allocator().record_history(bool(enabled), max_entries, frames=where)
