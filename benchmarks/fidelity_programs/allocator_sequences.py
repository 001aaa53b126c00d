"""Seeded sequences of allocations and frees, and what the allocator's books say after each: of CUDA, or of its model.

Sizes lie around the allocator's own borders (512 B, 1 MiB, 10 MiB, 2 MiB steps). Memory is limited to LIMIT, so that
sequences come to retries, released segments and failures.
"""

from __future__ import annotations

import gc
import random

import torch

from benchmarks.fidelity_programs.training import empty_device

LIMIT = (1 << 30) + (1 << 20)
STEPS = 400
BOOKS = (
    "allocated_bytes.all.current",
    "requested_bytes.all.current",
    "active_bytes.all.current",
    "inactive_split_bytes.all.current",
    "reserved_bytes.all.current",
    "segment.all.current",
    "num_alloc_retries",
    "num_ooms",
)
_BORDERS = (
    1,
    512,
    513,
    1 << 16,
    1 << 20,
    (1 << 20) + 1,
    2 << 20,
    10 << 20,
    (10 << 20) + 1,
    20 << 20,
    50 << 20,
    200 << 20,
)


def sequence(seed: int, steps: int = STEPS) -> list[tuple]:
    """``("take", name, bytes)``, ``("give", name)`` and ``("empty",)``; the same on every machine."""
    chance, live, found = random.Random(seed), [], []
    for number in range(steps):
        if chance.random() < 0.02:
            found.append(("empty",))
        elif live and chance.random() < 0.45:
            found.append(("give", live.pop(chance.randrange(len(live)))))
        else:
            border = chance.choice(_BORDERS)
            size = border if chance.random() < 0.3 else chance.randint(max(1, border // 4), border * 5 // 4)
            found.append(("take", number, size))
            live.append(number)
    return found


def replay(item: str, device: torch.device) -> dict:
    """Run the sequence of an item on a device; the books after each step, and the segments at the end."""
    module = torch.get_device_module(device)
    empty_device(device)
    total = module.get_device_properties(0).total_memory
    module.set_per_process_memory_fraction(LIMIT / total)
    kept, rows, failed = {}, [], []
    start = module.memory_stats()
    module.memory._record_memory_history(context=None, max_entries=100_000)
    try:
        for number, (act, *about) in enumerate(sequence(int(item.rsplit("/", 1)[1]))):
            if act == "empty":
                module.empty_cache()
            elif act == "give":
                kept.pop(about[0], None)
            else:
                try:
                    kept[about[0]] = torch.empty(about[1], dtype=torch.uint8, device=device)
                except torch.OutOfMemoryError:
                    failed.append(number)
            books = module.memory_stats()
            rows.append([books.get(name, 0) - start.get(name, 0) for name in BOOKS])
        segments, addresses = _segments(module), _addresses(module)
    finally:
        kept.clear()
        module.memory._record_memory_history(None)
        gc.collect()
        module.set_per_process_memory_fraction(1.0)
        empty_device(device)
    return {"books": list(BOOKS), "rows": rows, "failed": failed, "segments": segments, "addresses": addresses}


def _addresses(module) -> list[int]:
    """Where the driver put each segment, in the order in which they were asked for: of equal blocks the allocator takes
    the one with the lowest address, so what follows depends on them."""
    traces = module.memory._snapshot()["device_traces"]
    return [event["addr"] for events in traces for event in events if event["action"] == "segment_alloc"]


def _segments(module) -> list:
    """Each segment as [bytes, [[bytes, state] of its blocks]]: without addresses, smallest first."""
    found = module.memory_snapshot()
    return sorted([s["total_size"], [[b["size"], b["state"]] for b in s["blocks"]]] for s in found)
