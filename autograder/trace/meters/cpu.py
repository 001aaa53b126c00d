"""Plain CPU tensors, counted as a GPU would count them: for machines without CUDA and without the simulated GPU."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from autograder.trace.meters.base import LedgerMeter
from autograder.trace.meters.storages import StorageLedger, StorageRecord
from autograder.trace.sites import frames_of

LEDGER = StorageLedger("cpu")
"""The process's one CPU ledger."""


def keep_counting() -> None:
    """Count every CPU tensor made in this thread from now on; a second call changes nothing."""
    if not _counts_already():
        LEDGER.__enter__()


def _counts_already() -> bool:
    return any(mode is LEDGER for mode in _get_current_dispatch_mode_stack())


class CpuMeter(LedgerMeter):
    """Counts CPU tensors rounded up to 512 bytes; reserved equals allocated, and there are no copies.

    Tensors made before counting began are not in the figures. Waits are counted where Python reads a value (``item``,
    ``tolist``, ``print``), because on a GPU it would have to wait there.
    """

    source = "cpu"

    def __init__(self, device: torch.device, recording: int) -> None:
        super().__init__(LEDGER, device, recording)
        self._entered = False

    def start(self) -> None:
        """Begin to watch; enters the ledger for this recording if it does not count already."""
        if not _counts_already():
            LEDGER.__enter__()
            self._entered = True
        super().start()

    def stop(self) -> None:
        """Stop watching, and leave the ledger if this recording entered it."""
        super().stop()
        if self._entered:
            LEDGER.__exit__(None, None, None)
            self._entered = False

    def snapshot(self) -> dict:
        """Return the ledger's snapshot."""
        return snapshot()

    def _allocated(self) -> int:
        return LEDGER.allocated


def snapshot() -> dict:
    """Return the live storages, a segment each, and the last recording's events, in PyTorch's snapshot format."""
    return {
        "segments": [_segment(record) for record in LEDGER.live() if record.nbytes],
        "device_traces": [[_event(*event) for event in LEDGER.events]],
        "allocator_settings": {},
        "external_annotations": [],
    }


def _segment(record: StorageRecord) -> dict:
    block = record.block
    frames = frames_of(getattr(record.tag, "place", None))
    return {
        "device": 0,
        "address": block.address,
        "total_size": block.size,
        "allocated_size": block.size,
        "active_size": block.size,
        "requested_size": block.requested,
        "stream": 0,
        "segment_type": "large" if block.size > 1 << 20 else "small",
        "segment_pool_id": (0, 0),
        "is_expandable": False,
        "frames": [],
        "blocks": [
            {
                "address": block.address,
                "size": block.size,
                "requested_size": block.requested,
                "state": "active_allocated",
                "frames": frames,
            }
        ],
    }


def _event(action: str, address: int, size: int, tag) -> dict:
    frames = frames_of(getattr(tag, "place", None))
    return {
        "action": "alloc" if action == "alloc" else "free_completed",
        "addr": address,
        "size": size,
        "stream": 0,
        "frames": frames,
        "time_us": 0,
    }
