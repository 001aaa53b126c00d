"""A real GPU: bytes from CUDA's caching allocator, call sites and copies from watching every operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.cuda.memory import reset_peak_memory_stats

from autograder.trace.meters.base import HISTORY_EVENTS, LedgerMeter
from autograder.trace.meters.patching import call_before
from autograder.trace.meters.storages import StorageLedger
from autograder.trace.samples import Counters


class CudaMeter(LedgerMeter):
    """Reads ``torch.cuda``; its books of storages serve only to say which line allocated what.

    Memory that PyTorch's allocator did not hand out (CUDA context, NCCL, other libraries) is not counted. The first
    matrix products allocate cuBLAS workspaces that stay: warm up before measuring. The device's own peak statistics
    are reset at every step; a step that resets them itself hides nothing, unless through ``torch.accelerator``.
    """

    source = "cuda"

    def __init__(self, device: torch.device, recording: int) -> None:
        if device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        super().__init__(StorageLedger("cuda"), device, recording)
        self._undo: list[Callable[[], None]] = []
        self._own_history = False

    def start(self) -> None:
        """Begin to watch operators, and keep the allocator's history unless the learner already does."""
        torch.cuda.init()
        history_is_on = getattr(torch._C, "_cuda_isHistoryEnabled", None)
        self._own_history = history_is_on is not None and not history_is_on()
        if self._own_history:
            torch.cuda.memory._record_memory_history(stacks="python", max_entries=HISTORY_EVENTS)
        places = (torch.cuda, torch.cuda.memory)
        self._undo = [call_before(place, "reset_peak_memory_stats", self._note_peak) for place in places]
        self._ledger.__enter__()
        super().start()

    def stop(self) -> None:
        """Stop watching and put everything back."""
        super().stop()
        self._ledger.__exit__(None, None, None)
        for undo in self._undo:
            undo()
        if self._own_history:
            torch.cuda.memory._record_memory_history(enabled=None)

    def addresses(self) -> None:
        """Return None: tensors that are older than the recording are not in the books."""

    def counters(self) -> Counters:
        """Read CUDA's own figures, and the books' copies and waits."""
        stats = torch.cuda.memory_stats(self.device)
        self._note_peak()
        return Counters(
            stats.get("allocated_bytes.all.current", 0),
            stats.get("reserved_bytes.all.current", 0),
            self._peak,
            stats.get("allocation.all.allocated", 0),
            *self._ledger.transfers.totals(),
        )

    def reset_peak(self) -> None:
        """Let the peak start again from what is allocated now; this resets CUDA's own peak statistics too."""
        reset_peak_memory_stats(self.device)
        self._peak = self._allocated()

    def snapshot(self) -> dict:
        """Return the allocator's own snapshot."""
        return torch.cuda.memory._snapshot()

    def _note(self, record) -> None:
        record.tag = self._tag(self._place(record))
        if self.after_allocation is not None:
            self.after_allocation()

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated(self.device)

    def _note_peak(self, *_arguments, **_options) -> None:
        self._peak = max(self._peak, torch.cuda.max_memory_allocated(self.device))
