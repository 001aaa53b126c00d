"""What a run tells: in text for people, as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from autograder.diagnosis import Diagnosis
from autograder.run.sparkline import sparkline
from autograder.run.verdict import Verdict
from autograder.units import human

_WIDTH = 60
_RULE = "─" * 78
_STEPS = {
    "loop": "one per pass of the marked loop",
    "optimizer": "one per step of {marker}",
    "forward": "one per call of {marker}",
    "time": "one per 0.05 s with allocations, as no optimizer and no module was seen; --steps-from LINE names a loop",
}


class DeviceFigures(NamedTuple):
    """One device's own figures at the end, in bytes."""

    index: int
    allocated: int
    peak_allocated: int
    reserved: int
    peak_reserved: int


@dataclass(frozen=True)
class Report:
    """All that is told of one run. Memory is in bytes."""

    trace: object
    capacity: int
    devices: list[DeviceFigures]
    kind: str
    marker: str
    unit: str
    peak: int
    peak_reserved: int
    verdict: Verdict
    diagnosis: Diagnosis | None
    diagnosed_after: int
    at_peak: object
    status: int
    error: BaseException | None
    not_compiled: tuple[str, ...] = ()


def as_text(report: Report, draw: bool = True) -> str:
    """The report as lines; ``draw`` allows characters that are not ASCII."""
    trace = report.trace
    lines = [_RULE if draw else "-" * 78, _device_line(report), _steps_line(report)]
    if trace.samples:
        lines += ["", *_curves(trace, draw), "", *repr(trace).splitlines()[1:-1]]
    lines += ["", _peak_line(report), *_other_devices(report), f"Verdict: {report.verdict.text}"]
    if report.diagnosis is not None:
        lines += ["", _diagnosis_title(report), *repr(report.diagnosis).splitlines()]
    if report.at_peak is not None and report.peak:
        lines += ["", *repr(report.at_peak).splitlines()]
    return "\n".join([*lines, *_notes(report)])


def _device_line(report: Report) -> str:
    trace = report.trace
    name = "Simulated GPU" if trace.simulated else torch.cuda.get_device_name(trace.device)
    return f"{trace.title} on {name}, {human(report.capacity)}, torch {torch.__version__.split('+')[0]}"


def _steps_line(report: Report) -> str:
    count = len(report.trace.samples)
    how = _STEPS[report.kind].format(marker=report.marker or "nothing seen")
    warm = f", the first {report.trace.warmup} of them warm-up" if report.trace.warmup else ""
    return f"{count} {report.unit}{'' if count == 1 else 's'} ({how}){warm}"


def _curves(trace, draw: bool) -> list[str]:
    return [
        f"{name.rjust(9)} {sparkline(values, _WIDTH, draw)} {human(int(values[0]))} to {human(int(values[-1]))}"
        for name, values in (("allocated", trace.allocated), ("peak", trace.peak), ("reserved", trace.reserved))
    ]


def _peak_line(report: Report) -> str:
    share = report.peak / report.capacity if report.capacity else 0
    words = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    return (
        f"Peak allocated {human(report.peak)} ({words} of the device); reserved {human(report.peak_reserved)} at most."
    )


def child_lines(process: str, devices: list[DeviceFigures]) -> list[str]:
    """One line for each device that a spawned process used."""
    return [
        f"{process}: device {figures.index}, peak allocated {human(figures.peak_allocated)}, "
        f"reserved {human(figures.peak_reserved)} at most (simulated GPU)"
        for figures in devices
        if figures.peak_allocated
    ]


def _other_devices(report: Report) -> list[str]:
    if len(report.devices) == 1:
        return []
    return [
        f"  device {figures.index}: peak allocated {human(figures.peak_allocated)}, "
        f"reserved {human(figures.peak_reserved)} at most"
        for figures in report.devices
    ]


def _diagnosis_title(report: Report) -> str:
    steps = len(report.trace.samples)
    when = "at the end" if report.diagnosed_after >= steps else f"after step {report.diagnosed_after} of {steps}"
    return f"Diagnosis, {when}:"


def _notes(report: Report) -> list[str]:
    notes = []
    if report.not_compiled:
        notes.append(
            f"Not compiled: torch.compile left {', '.join(report.not_compiled)} eager; compiled memory differs."
        )
    if isinstance(report.error, torch.OutOfMemoryError):
        notes.append("The script ran OUT OF MEMORY: what was alive at the highest moment is listed above.")
    elif report.error is not None and not isinstance(report.error, SystemExit):
        notes.append(f"The script was ended by {type(report.error).__name__}; the figures are of the time until then.")
    return ["", *notes] if notes else []


def as_json(report: Report) -> dict:
    """The report as a dictionary of plain values; memory in bytes."""
    trace = report.trace
    return {
        "script": trace.title,
        "device": str(trace.device),
        "simulated": trace.simulated,
        "torch": torch.__version__,
        "capacity": report.capacity,
        "exit_status": report.status,
        "ended_by": type(report.error).__name__ if report.error is not None else None,
        "out_of_memory": isinstance(report.error, torch.OutOfMemoryError),
        "steps_from": report.kind,
        "steps_marked_by": report.marker or None,
        "warmup": trace.warmup,
        "verdict": report.verdict.kind,
        "verdict_text": report.verdict.text,
        "slope": trace.slope,
        "peak_allocated": report.peak,
        "peak_reserved": report.peak_reserved,
        "devices": [figures._asdict() for figures in report.devices],
        "samples": [sample._asdict() for sample in trace.samples],
        "diagnosis": _diagnosis_as_json(report),
        "not_compiled": list(report.not_compiled),
    }


def _diagnosis_as_json(report: Report) -> dict | None:
    if report.diagnosis is None:
        return None
    return {
        "after_step": report.diagnosed_after,
        "headline": report.diagnosis.headline,
        "groups": [
            {
                "allocated_at": str(group.site) if group.site is not None else None,
                "file": group.site.filename if group.site is not None else None,
                "line": group.site.line if group.site is not None else None,
                "tensors": group.count,
                "bytes": group.occupied,
                "held_by": [str(holder) for holder in group.holders],
            }
            for group in report.diagnosis.groups
        ],
    }
