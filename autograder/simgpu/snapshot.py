"""Snapshots in the format of ``torch.cuda.memory._snapshot()``.

``torch.cuda._memory_viz`` and pytorch.org/memory_viz read them. Source: _cuda_memorySnapshot in
torch/csrc/cuda/Module.cpp and DeviceCachingAllocator::snapshot (torch 2.13).
"""

from __future__ import annotations

from autograder.simgpu.pools import DEFAULT_ID
from autograder.simgpu.recording import Recorder, id_of
from autograder.simgpu.settings import UNLIMITED


def _state(block) -> str:
    if not block.active:
        return "inactive"
    return "active_pending_free" if block.waiting else "active_allocated"


def describe_segment(head, device: int, recorder: Recorder) -> dict:
    """One segment from its first block on, or one mapped stretch of an expandable segment (SegmentInfo), with the
    frames that a recorder noted."""
    blocks = []
    block = head
    while block is not None and block.mapped:
        blocks.append(
            {
                "address": block.address,
                "size": block.size,
                "requested_size": block.requested if block.active else 0,
                "state": _state(block),
                "frames": (block.stacks or {}).get(recorder) or [],
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
        "segment_pool_id": id_of(head.pool),
        "is_expandable": head.segment is not None,
        "frames": (head.segment_stacks or {}).get(recorder) or [],
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


def take_snapshot(allocators, pool_id: tuple[int, int] = DEFAULT_ID, recorder: Recorder | None = None) -> dict:
    """Of each device: segments in the order of their addresses, and a history; the settings of the first.

    ``pool_id`` names a private pool to look at alone. The history is the program's own, or another ``recorder``'s. Each
    notes the snapshot after it was read, so that the next one shows it (NativeCachingAllocator::snapshot).
    """
    segments: list[dict] = []
    traces: list[list[dict]] = [[] for _ in range(max(allocator.device for allocator in allocators) + 1)]
    for allocator in allocators:
        seen_by = allocator.history if recorder is None else recorder
        traces[allocator.device] = seen_by.as_dicts()
        described = (describe_segment(head, allocator.device, seen_by) for head in allocator.heads())
        mine = [d for d in described if pool_id in (DEFAULT_ID, d["segment_pool_id"])]
        segments += sorted(mine, key=lambda segment: segment["address"])
        allocator.note("snapshot", 0, sum(segment["active_size"] for segment in mine))
    return {
        "segments": segments,
        "device_traces": traces,
        "allocator_settings": describe_settings(allocators[0].settings),
        "external_annotations": [],
    }
