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
        from autograder.simgpu.recording import Recorder

        super().__init__(LEDGER, device, recording)
        self._index = device.index or 0
        self._allocator = LEDGER.allocators[self._index]
        self._recorder = Recorder(HISTORY_EVENTS, self._sites.frames)

    def start(self) -> None:
        """Begin to watch, and keep a history of its own: the learner's is the learner's."""
        self._allocator.attach(self._recorder)
        super().start()

    def stop(self) -> None:
        """Stop watching and noting; what was noted stays."""
        super().stop()
        self._allocator.detach(self._recorder)

    def snapshot(self) -> dict:
        """Return the allocator's snapshot, with this recording's history."""
        self._ledger.drain()
        return self._allocator.snapshot(recorder=self._recorder)

    def _note(self, record) -> None:
        if record.block.pool.allocator is self._allocator:
            super()._note(record)

    def _place(self, record) -> Place | None:
        return self._sites.noted((record.block.stacks or {}).get(self._recorder))

    def _which(self) -> tuple:
        return (self._index,)

    def _allocated(self) -> int:
        return self._allocator.allocated
