"""Freed blocks that another stream may still use: they stay out of the pools until its work is done.

Names in parentheses are of c10/cuda/CUDACachingAllocator.cpp (torch 2.13). CUDA asks the device whether an event was
reached (cudaEventQuery); here the timeline knows.
"""

from __future__ import annotations

from collections import deque

from autograder.simgpu.blocks import Block
from autograder.simgpu.timeline import Mark, Timeline


class Waiting:
    """The outstanding events of one allocator, per stream in the order of the frees (cuda_events)."""

    def __init__(self, allocator, timeline: Timeline):
        self._allocator = allocator
        self.timeline = timeline
        self.events: dict[int, deque[tuple[Mark, Block]]] = {}

    def add(self, block: Block) -> None:
        """Record an event on each stream that used the block (insert_events)."""
        streams, block.uses = block.uses, len(block.uses)
        for stream in sorted(streams):
            self.events.setdefault(stream, deque()).append((self.timeline.mark(stream), block))
        self._allocator.choose_path()

    def process(self, stacks: dict | None = None) -> None:
        """Free the blocks whose streams are done; per stream, stop at the first that is not (process_events)."""
        for stream, outstanding in list(self.events.items()):
            while outstanding and self.timeline.has_finished(outstanding[0][0]):
                self._reached(outstanding.popleft()[1], stacks)
            if not outstanding:
                del self.events[stream]
        self._allocator.choose_path()

    def finish(self, owner=None, stacks: dict | None = None) -> None:
        """Wait for all events, or those of one private pool's blocks, and free their blocks (synchronize_and_free_events)."""
        self._allocator.counters.num_sync_all_streams += 1
        for stream, outstanding in list(self.events.items()):
            kept: deque[tuple[Mark, Block]] = deque()
            for mark, block in outstanding:
                if owner is not None and block.pool.family.owner is not owner:
                    kept.append((mark, block))
                    continue
                self.timeline.finish(mark)
                self._reached(block, stacks)
            if kept:
                self.events[stream] = kept
            else:
                del self.events[stream]
        self._allocator.choose_path()

    def _reached(self, block: Block, stacks: dict | None) -> None:
        block.uses -= 1
        if block.uses == 0:
            block.uses = None
            self._allocator.free(block, completed=True, stacks=stacks)
