"""The simulated GPU: its ledger and its caching allocator count everything there is to count."""

from __future__ import annotations

import torch

from autograder.trace.meters.base import HISTORY_EVENTS, LedgerMeter
from autograder.trace.sites import Place


class SimGpuMeter(LedgerMeter):
    """Reads the simulated device's ledger; allocated, reserved, copies and waits are all modelled."""

    source = "simgpu"

    def __init__(self, device: torch.device, recording: int) -> None:
        from autograder.simgpu.ledger import LEDGER

        super().__init__(LEDGER, device, recording)
        self._index = device.index or 0
        self._allocator = LEDGER.allocators[self._index]
        self._own_history = False

    def start(self) -> None:
        """Begin to watch, and keep the allocator's history unless the learner already does."""
        self._own_history = self._allocator.history is None
        if self._own_history:
            self._allocator.record_history(True, HISTORY_EVENTS, frames=self._sites.frames)
        super().start()

    def stop(self) -> None:
        """Stop watching; the history is switched off again if it was ours."""
        super().stop()
        if self._own_history:
            self._allocator.record_history(False, HISTORY_EVENTS)
            self._own_history = False

    def snapshot(self) -> dict:
        """Return the allocator's own snapshot."""
        self._ledger.drain()
        return self._allocator.snapshot()

    def _note(self, record) -> None:
        if record.block.pool.allocator is self._allocator:
            super()._note(record)

    def _place(self, record) -> Place | None:
        return self._sites.noted(record.block.frames)

    def _which(self) -> tuple:
        return (self._index,)

    def _allocated(self) -> int:
        return self._allocator.allocated
