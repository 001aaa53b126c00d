"""A trace: what memory did, step by step."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from autograder.errors import RecordError
from autograder.trace.meters import Meter, Survivor
from autograder.trace.samples import Sample, robust_slope
from autograder.trace.steps import steps_over
from autograder.trace.table import as_html, as_text


class Readings(NamedTuple):
    """Everything that was read while recording; replaced as a whole, never changed."""

    samples: tuple[Sample, ...] = ()
    baseline: int = 0
    final: int = 0
    after_loop: Sample | None = None
    leftovers: tuple[Survivor, ...] = ()
    error: BaseException | None = None


def _reading(name: str) -> property:
    return property(lambda trace: getattr(trace._readings, name))


class Trace:
    """The samples of one recording and what can be read off them. All memory is in bytes.

    A trace is what was measured: none of it can be set or extended from outside, except ``result``.

    Attributes
    ----------
    samples : tuple[Sample, ...]
        One per step, warm-up included.
    warmup : int
        How many of them come before the measured ("steady") steps.
    baseline, final : int
        Allocated before step 0 and at the end of the recording.
    after_loop : Sample or None
        What was counted between the last step and the end of the recording.
    leftovers : tuple[Survivor, ...]
        Storages allocated in steady steps (or after the last one) that were alive when the recording ended.
    device, source, title
        The device watched; "cuda", "simgpu" or "cpu"; and the name shown.
    error : BaseException or None
        A copy, without frames, of the exception that ended the recording early.
    result
        Free for whoever records.
    """

    samples = _reading("samples")
    baseline = _reading("baseline")
    final = _reading("final")
    after_loop = _reading("after_loop")
    leftovers = _reading("leftovers")
    error = _reading("error")

    def __init__(self, meter: Meter, warmup: int, title: str) -> None:
        self._note(
            warmup=warmup,
            title=title,
            device=meter.device,
            source=meter.source,
            result=None,
            _meter=meter,
            _readings=Readings(),
            _snapshot=None,
            _recording=None,
            _steps_given=False,
        )

    def __setattr__(self, name: str, value) -> None:
        if name != "result":
            raise RecordError(
                f"a trace cannot be changed: `{name}` is what was measured. Only `trace.result` is free for your own use"
            )
        self._note(result=value)

    def __delattr__(self, name: str) -> None:
        raise RecordError(f"a trace cannot be changed: `{name}` is what was measured")

    def steps(self, items: Iterable) -> Iterable:
        """Return the items, each pull of which marks a step.

        Raises RecordError outside the ``with`` block, and at a second call: one recording has one loop.
        """
        if self._recording is None:
            raise RecordError(
                "trace.steps(items) marks steps while recording: use it inside `with ag.record() as trace:`"
            )
        if self._steps_given:
            raise RecordError(
                "trace.steps(items) was already called in this recording: one recording has one loop. "
                "Go through the items that were handed to you, or record again"
            )
        self._note(_steps_given=True)
        return steps_over(self._recording, items)

    @property
    def simulated(self) -> bool:
        """Whether the device is the simulated GPU."""
        return self.source == "simgpu"

    @property
    def steady(self) -> tuple[Sample, ...]:
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
        return dict(self._snapshot)

    def so_far(self) -> Trace:
        """Return what a running recording would be if it ended now, for a diagnosis while its loop is alive."""
        other = Trace(self._meter, self.warmup, self.title)
        final = self._meter.counters().allocated
        other._note(_readings=self._readings._replace(final=final, leftovers=tuple(self.survivors())))
        return other

    def dump(self, path: str | os.PathLike) -> None:
        """Write the snapshot for PyTorch's memory viewer (pytorch.org/memory_viz, ``torch.cuda._memory_viz``)."""
        with open(path, "wb") as file:
            pickle.dump(self.snapshot(), file)

    def _column(self, name: str) -> np.ndarray:
        return np.array([getattr(sample, name) for sample in self.samples], dtype=np.int64)

    def _note(self, **values) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _begin(self, recording, baseline: int) -> None:
        self._note(_recording=recording, _readings=Readings(baseline=baseline, final=baseline))

    def _add(self, sample: Sample) -> None:
        self._note(_readings=self._readings._replace(samples=(*self.samples, sample)))

    def _end(self, after_loop: Sample, snapshot: dict, error: BaseException | None) -> None:
        readings = self._readings._replace(
            after_loop=after_loop, final=after_loop.allocated, leftovers=tuple(self.survivors()), error=error
        )
        self._note(_recording=None, _readings=readings, _snapshot=snapshot)

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
