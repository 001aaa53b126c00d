"""History of what the allocator did, and snapshots in the format of ``torch.cuda.memory._snapshot()``.

``torch.cuda._memory_viz`` and pytorch.org/memory_viz read them. Source: _cuda_memorySnapshot in
torch/csrc/cuda/Module.cpp and DeviceCachingAllocator::snapshot (torch 2.13).
"""

from __future__ import annotations

import time
from collections import deque

from autograder.simgpu.pools import DEFAULT_ID
from autograder.simgpu.settings import UNLIMITED

ACTIONS = (
    *("alloc", "free_requested", "free_completed", "segment_alloc", "segment_free", "segment_map", "segment_unmap"),
    *("snapshot", "oom"),
)  # parseTraceEntryAction, c10/core/CachingDeviceAllocator.h line 171
Frames = list  # of {"filename": str, "line": int, "name": str}, innermost first


class History:
    """The last ``max_entries`` actions of the allocator, oldest first (RingBuffer); those in ``skipped`` are left out."""

    def __init__(self, max_entries: int, entries=(), skipped=()):
        self.entries = deque(entries, maxlen=max(1, max_entries))
        self._skipped = frozenset(skipped)

    def add(self, action: str, address: int, size: int, frames: Frames | None = None, pool=None) -> None:
        """Note one action in a pool; for ``oom``, ``address`` is the number of free bytes (record_trace)."""
        if action not in self._skipped:
            self.entries.append((action, address, size, frames, time.time_ns(), pool))

    def as_dicts(self) -> list[dict]:
        """The entries as ``device_traces`` holds them."""
        return [
            {
                "action": action,
                "device_free" if action == "oom" else "addr": address,
                "size": size,
                "stream": 0 if pool is None else pool.stream,
                "time_us": nanoseconds // 1000,
                "frames": frames or [],
                "compile_context": "N/A",
                "user_metadata": "",
                "pool_id": _pool_id(pool),
            }
            for action, address, size, frames, nanoseconds, pool in self.entries
        ]


def _pool_id(pool) -> tuple[int, int]:
    return DEFAULT_ID if pool is None or pool.family.owner is None else pool.family.owner.id


def _state(block) -> str:
    if not block.active:
        return "inactive"
    return "active_pending_free" if block.waiting else "active_allocated"


def describe_segment(head, device: int) -> dict:
    """One segment from its first block on, or one mapped stretch of an expandable segment (SegmentInfo)."""
    blocks = []
    block = head
    while block is not None and block.mapped:
        blocks.append(
            {
                "address": block.address,
                "size": block.size,
                "requested_size": block.requested if block.active else 0,
                "state": _state(block),
                "frames": block.frames or [],
            }
        )
        block = block.next
    active = [block for block in blocks if block["state"] != "inactive"]
    in_use = [block for block in active if block["state"] == "active_allocated"]
    return {
        "device": device,
        "address": head.address,
        "total_size": sum(block["size"] for block in blocks),
        "allocated_size": sum(block["size"] for block in in_use),
        "active_size": sum(block["size"] for block in active),
        "requested_size": sum(block["requested_size"] for block in active),
        "stream": head.pool.stream,
        "segment_type": "small" if head.pool.is_small else "large",
        "segment_pool_id": _pool_id(head.pool),
        "is_expandable": head.segment is not None,
        "frames": head.segment_frames or [],
        "blocks": blocks,
    }


def describe_settings(settings) -> dict:
    """The settings as a snapshot reports them."""
    divisions = settings.roundup_power2_divisions
    return {
        "PYTORCH_CUDA_ALLOC_CONF": settings.text,
        "max_split_size": -1 if settings.max_split_size == UNLIMITED else settings.max_split_size,
        "garbage_collection_threshold": settings.garbage_collection_threshold,
        "expandable_segments": settings.expandable_segments,
        "pinned_num_register_threads": 1,
        "release_lock_on_cudamalloc": False,
        "pinned_use_cuda_host_register": False,
        "graph_capture_record_stream_reuse": False,
        "roundup_power2_divisions": {str(1 << index): value for index, value in enumerate(divisions)},
    }


def take_snapshot(allocators, pool_id: tuple[int, int] = DEFAULT_ID) -> dict:
    """Of each device: segments in the order of their addresses, and the history; the settings of the first.

    ``pool_id`` names a private pool to look at alone. Each history notes the snapshot.
    """
    segments: list[dict] = []
    traces: list[list[dict]] = [[] for _ in range(max(allocator.device for allocator in allocators) + 1)]
    for allocator in allocators:
        described = (describe_segment(head, allocator.device) for head in allocator.heads())
        mine = [d for d in described if pool_id in (DEFAULT_ID, d["segment_pool_id"])]
        segments += sorted(mine, key=lambda segment: segment["address"])
        allocator.note("snapshot", 0, sum(segment["active_size"] for segment in mine))
        if allocator.history is not None:
            traces[allocator.device] = allocator.history.as_dicts()
    return {
        "segments": segments,
        "device_traces": traces,
        "allocator_settings": describe_settings(allocators[0].settings),
        "external_annotations": [],
    }
