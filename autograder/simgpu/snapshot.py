"""History of what the allocator did, and snapshots in the format of ``torch.cuda.memory._snapshot()``.

``torch.cuda._memory_viz`` and pytorch.org/memory_viz read them.
"""

from __future__ import annotations

import time
from collections import deque

from autograder.simgpu.settings import UNLIMITED

Frames = list  # of {"filename": str, "line": int, "name": str}, innermost first


class History:
    """The last ``max_entries`` actions of the allocator, oldest first (RingBuffer)."""

    def __init__(self, max_entries: int, entries=()):
        self.entries = deque(entries, maxlen=max(1, max_entries))

    def add(self, action: str, address: int, size: int, frames: Frames | None = None) -> None:
        """Note one action; for ``oom``, ``address`` is the number of free bytes (record_trace)."""
        self.entries.append((action, address, size, frames, time.time_ns()))

    def as_dicts(self) -> list[dict]:
        """The entries as ``device_traces`` holds them."""
        return [
            {
                "action": action,
                "device_free" if action == "oom" else "addr": address,
                "size": size,
                "stream": 0,
                "time_us": nanoseconds // 1000,
                "frames": frames or [],
                "compile_context": "N/A",
                "user_metadata": "",
                "pool_id": (0, 0),
            }
            for action, address, size, frames, nanoseconds in self.entries
        ]


def describe_segment(head, device: int) -> dict:
    """One segment from its first block on, or one mapped stretch of an expandable segment (SegmentInfo)."""
    blocks = []
    block = head
    while block is not None and block.mapped:
        blocks.append(
            {
                "address": block.address,
                "size": block.size,
                "requested_size": block.requested if block.allocated else 0,
                "state": "active_allocated" if block.allocated else "inactive",
                "frames": block.frames or [],
            }
        )
        block = block.next
    in_use = [block for block in blocks if block["state"] == "active_allocated"]
    return {
        "device": device,
        "address": head.address,
        "total_size": sum(block["size"] for block in blocks),
        "allocated_size": sum(block["size"] for block in in_use),
        "active_size": sum(block["size"] for block in in_use),
        "requested_size": sum(block["requested_size"] for block in in_use),
        "stream": 0,
        "segment_type": "small" if head.pool.is_small else "large",
        "segment_pool_id": (0, 0),
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
        "roundup_power2_divisions": {str(1 << index): value for index, value in enumerate(divisions)},
    }


def take_snapshot(heads, device: int, history: History | None, settings) -> dict:
    """Segments in the order of their addresses, the history, and the settings."""
    segments = sorted((describe_segment(head, device) for head in heads), key=lambda segment: segment["address"])
    if history is not None:
        history.add("snapshot", 0, sum(segment["active_size"] for segment in segments))
    traces: list[list[dict]] = [[] for _ in range(device + 1)]
    if history is not None:
        traces[device] = history.as_dicts()
    return {
        "segments": segments,
        "device_traces": traces,
        "allocator_settings": describe_settings(settings),
        "external_annotations": [],
    }
