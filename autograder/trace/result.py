"""A trace: what memory did, step by step."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable

import numpy as np

from autograder.errors import RecordError
from autograder.trace.meters import Meter, Survivor
from autograder.trace.samples import Sample, robust_slope
from autograder.trace.steps import steps_over
from autograder.trace.table import as_html, as_text


class Trace:
    """The samples of one recording and what can be read off them. All memory is in bytes.

    Attributes
    ----------
    samples : list[Sample]
        One per step, warm-up included.
    warmup : int
        How many of them come before the measured ("steady") steps.
    baseline, final : int
        Allocated before step 0 and at the end of the recording.
    after_loop : Sample or None
        What was counted between the last step and the end of the recording.
    leftovers : list[Survivor]
        Storages allocated in steady steps (or after the last one) that were alive when the recording ended.
    device, source, title
        The device watched; "cuda", "simgpu" or "cpu"; and the name shown.
    error : BaseException or None
        A copy, without frames, of the exception that ended the recording early.
    result
        Free for whoever records.
    """

    def __init__(self, meter: Meter, warmup: int, title: str) -> None:
        self.samples: list[Sample] = []
        self.warmup = warmup
        self.title = title
        self.baseline = self.final = 0
        self.after_loop: Sample | None = None
        self.leftovers: list[Survivor] = []
        self.error: BaseException | None = None
        self.result = None
        self.device = meter.device
        self.source = meter.source
        self._meter = meter
        self._snapshot: dict | None = None
        self._recording = None

    def steps(self, items: Iterable) -> Iterable:
        """Return the items, each pull of which marks a step. Raises RecordError outside the ``with`` block."""
        if self._recording is None:
            raise RecordError(
                "trace.steps(items) marks steps while recording: use it inside `with ag.record() as trace:`"
            )
        return steps_over(self._recording, items)

    @property
    def simulated(self) -> bool:
        """Whether the device is the simulated GPU."""
        return self.source == "simgpu"

    @property
    def steady(self) -> list[Sample]:
        """The samples after warm-up."""
        return self.samples[self.warmup :]

    @property
    def slope(self) -> float:
        """Growth of allocated memory in bytes per steady step, by a fit that single odd steps cannot move."""
        return robust_slope([sample.allocated for sample in self.steady])

    @property
    def growth(self) -> int:
        """Bytes allocated at the end beyond those at the end of warm-up."""
        settled = self.samples[: self.warmup]
        return self.final - (settled[-1].allocated if settled else self.baseline)

    @property
    def highest(self) -> int:
        """The highest allocated after warm-up, also after the last step, in bytes."""
        late = [*self.steady, *([self.after_loop] if self.after_loop else [])]
        return max((sample.peak for sample in late), default=self.baseline)

    def survivors(self) -> list[Survivor]:
        """List the storages allocated after warm-up that are alive now, oldest first."""
        return [survivor for survivor in self._meter.survivors() if survivor.step >= self.warmup]

    def snapshot(self) -> dict:
        """Return the allocator's state at the end, in the format of ``torch.cuda.memory._snapshot()``.

        Raises RecordError while the recording runs.
        """
        if self._snapshot is None:
            raise RecordError("the snapshot is taken when the recording ends: ask for it after the `with` block")
        return self._snapshot

    def dump(self, path: str | os.PathLike) -> None:
        """Write the snapshot for PyTorch's memory viewer (pytorch.org/memory_viz, ``torch.cuda._memory_viz``)."""
        with open(path, "wb") as file:
            pickle.dump(self.snapshot(), file)

    def _column(self, name: str) -> np.ndarray:
        return np.array([getattr(sample, name) for sample in self.samples], dtype=np.int64)

    def _begin(self, recording, baseline: int) -> None:
        self._recording = recording
        self.baseline = self.final = baseline

    def _end(self, after_loop: Sample, snapshot: dict, error: BaseException | None) -> None:
        self._recording = None
        self.after_loop = after_loop
        self.final = after_loop.allocated
        self.leftovers = self.survivors()
        self.error = error
        self._snapshot = snapshot

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def _column_property(name: str, meaning: str) -> property:
    return property(lambda trace: trace._column(name), doc=f"{meaning}, one entry per sample (int64 array).")


for _name, _meaning in {
    "allocated": "Bytes allocated at the end of each step",
    "reserved": "Bytes reserved at the end of each step",
    "peak": "Highest bytes allocated within each step",
    "allocations": "Allocations within each step",
    "h2d_count": "Host-to-device copies within each step",
    "h2d_bytes": "Bytes copied from host to device within each step",
    "d2h_count": "Device-to-host copies within each step",
    "d2h_bytes": "Bytes copied from device to host within each step",
    "syncs": "Waits of the host for the device within each step",
}.items():
    setattr(Trace, _name, _column_property(_name, _meaning))
