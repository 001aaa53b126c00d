"""The memory functions of ``torch.cuda`` over the CPU ledger, for lessons on machines without any GPU.

Reserved equals allocated, and the device never fills up. Functions take ``device=`` as PyTorch's do and ignore it.
"""

from __future__ import annotations

import torch

from autograder.host import available_memory
from autograder.trace.meters.cpu import LEDGER, snapshot
from autograder.units import human


def is_available() -> bool:
    """Whether there is such a device: always."""
    return True


def memory_allocated(device=None) -> int:
    """Return the bytes of live tensors that the ledger has seen, each storage rounded up to 512."""
    return LEDGER.allocated


def max_memory_allocated(device=None) -> int:
    """Return the highest bytes allocated since the peak was reset."""
    return LEDGER.peak


memory_reserved = memory_allocated
max_memory_reserved = max_memory_allocated


def reset_peak_memory_stats(device=None) -> None:
    """Let the peak start again from what is allocated now."""
    LEDGER.reset_peak()


def memory_stats(device=None) -> dict[str, int]:
    """Return the figures that the ledger has, under the keys of ``torch.cuda.memory_stats``."""
    counters = LEDGER.counters()
    live = LEDGER.live()
    figures = {"allocation.all.current": len(live), "allocation.all.allocated": counters.allocations}
    for kind in ("allocated", "active", "reserved"):
        figures[f"{kind}_bytes.all.current"] = counters.allocated
        figures[f"{kind}_bytes.all.peak"] = counters.peak
    figures["requested_bytes.all.current"] = sum(record.nbytes for record in live)
    figures.update({"inactive_split_bytes.all.current": 0, "num_alloc_retries": 0, "num_ooms": 0})
    return figures


def memory_summary(device=None, abbreviated: bool = False) -> str:
    """Return one line with what is allocated, its peak, and the number of allocations."""
    counters = LEDGER.counters()
    return (
        f"CPU, counted like a GPU: allocated {human(counters.allocated)}, peak {human(counters.peak)}, "
        f"{counters.allocations} allocations"
    )


def memory_snapshot(mempool_id=None) -> list[dict]:
    """Return one segment with one block for each live storage."""
    return snapshot()["segments"]


def mem_get_info(device=None) -> tuple[int, int]:
    """Return (free, total) bytes, total being what the host could give in all."""
    free = available_memory() or 0
    return free, free + LEDGER.allocated


def empty_cache() -> None:
    """Do nothing: nothing is cached."""


def synchronize(device=None) -> None:
    """Do nothing: the host never runs ahead of the CPU."""


def manual_seed(seed: int) -> None:
    """Seed PyTorch."""
    torch.manual_seed(seed)
