"""Recording a script while it runs, and diagnosing a leak while its holders are still alive."""

from __future__ import annotations

import torch

from autograder.diagnosis import Diagnosis, diagnose
from autograder.run.looks import Looks
from autograder.run.report import DeviceFigures, Report
from autograder.run.script import Outcome
from autograder.run.stepping import Stepping
from autograder.run.verdict import verdict_on, warmup_for
from autograder.simgpu.eager import NOT_COMPILED
from autograder.trace import record


class Watch:
    """The recording of one script.

    What a function's variables hold is gone when the function returns, so memory that has grown is diagnosed while
    the loop runs, when ``Looks`` says. The latest look that found something counts.
    """

    def __init__(self, device: torch.device, title: str, kind: str | None):
        self.device = device
        self.recording = record(device=device, timeout=None, label=title)
        self._stepping = Stepping(self.recording, kind, self._after_step)
        self._looked: Diagnosis | None = None
        self._looked_at = 0
        self._looks = Looks()

    @property
    def trace(self):
        return self.recording.trace

    def loop_passed(self) -> None:
        """The marked loop begins a pass."""
        self._stepping.loop_passed()

    def __enter__(self):
        module = torch.get_device_module(self.device)
        for index in range(module.device_count()):
            module.reset_peak_memory_stats(index)
        self.recording.__enter__()
        self._stepping.start()
        return self

    def ended(self, error: BaseException | None) -> None:
        """The script is over; its module, and the frames of what it raised, are still alive."""
        self._stepping.stop()
        kind = type(error) if error is not None else None
        self.recording.__exit__(kind, error, error.__traceback__ if error is not None else None)
        self.recording.settle_warmup(warmup_for(len(self.trace.samples)))

    def __exit__(self, *exc_info) -> None:
        """Nothing is left to do: ``ended()`` closed the recording."""

    def _after_step(self) -> None:
        steps = len(self.trace.samples)
        seconds = self._looks.due(steps)
        if not seconds:
            return
        found = self._looks.taken(steps, lambda: self._look(steps, seconds))
        if found.groups:
            self._looked, self._looked_at = found, steps

    def _look(self, steps: int, seconds: float) -> Diagnosis:
        self.recording.settle_warmup(warmup_for(steps))
        return diagnose(self.trace.so_far(), seconds=seconds)

    def report(self, outcome: Outcome) -> Report:
        """Everything that is worth telling, while what the script left behind is still there."""
        trace = self.trace
        capacity = torch.get_device_module(self.device).mem_get_info(self.device)[1]
        devices = all_devices(self.device)
        verdict = verdict_on(trace, self._unit, capacity)
        diagnosis, seen = self._diagnosis(verdict.kind)
        return Report(
            trace=trace,
            capacity=capacity,
            devices=devices,
            kind=self._stepping.kind,
            marker=self._stepping.marker,
            unit=self._unit,
            peak=max(self._stepping.highest, trace.highest, *(sample.peak for sample in trace.samples), 0),
            peak_reserved=max(devices[self.device.index or 0].peak_reserved, *trace.reserved, 0),
            verdict=verdict,
            diagnosis=diagnosis,
            diagnosed_after=seen,
            at_peak=diagnose(trace, at="peak") if trace.samples or trace.final > trace.baseline else None,
            status=outcome.status,
            error=outcome.error,
            not_compiled=tuple(dict.fromkeys(NOT_COMPILED)),
        )

    @property
    def _unit(self) -> str:
        return "sample" if self._stepping.kind == "time" else "step"

    def _diagnosis(self, verdict: str) -> tuple[Diagnosis | None, int]:
        """The diagnosis of the end if what grew is still there, else the latest one made on the way."""
        if verdict not in ("grows", "rose", "unknown"):
            return None, 0
        trace = self.trace
        still_there = trace.growth > 0 and 2 * trace.growth >= trace.slope * len(trace.steady)
        if self._looked is not None and not still_there:
            return self._looked, self._looked_at
        found = diagnose(trace)
        return (found if found.grew else None), len(trace.samples)


def all_devices(device: torch.device) -> list[DeviceFigures]:
    """The figures of every device of that type."""
    module = torch.get_device_module(device)
    return [
        DeviceFigures(
            index,
            module.memory_allocated(index),
            module.max_memory_allocated(index),
            module.memory_reserved(index),
            module.max_memory_reserved(index),
        )
        for index in range(module.device_count())
    ]
