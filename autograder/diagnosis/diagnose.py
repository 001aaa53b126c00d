"""From a recording to a diagnosis."""

from __future__ import annotations

from autograder.errors import RecordError

from .groups import Group, group_survivors, split_growing
from .heap import collector_paused
from .holders import SECONDS, HolderSearch
from .peak import PeakReport, at_peak
from .report import Diagnosis

_MOST_LOOKED_UP = 1000  # storages per group whose holders are searched
_WHERE = {"cuda": "GPU", "simgpu": "simulated GPU", "cpu": "CPU"}


def diagnose(trace, *, at: str = "end", seconds: float = SECONDS) -> Diagnosis | PeakReport:
    """Say what grew in a recording, which line allocated it, and who holds it.

    Looks at the storages allocated after warm-up that are still alive, and at the Python heap and the
    autograd graph as they are now; changes neither, and keeps no reference. The search for holders stops
    after ``seconds`` and says so. With ``at="peak"`` it says instead what was alive at the highest moment, which
    lines had allocated it, and in which step. Raises RecordError when ``trace`` is not a finished recording.
    """
    if not hasattr(trace, "survivors") or not hasattr(trace, "samples"):
        raise RecordError(f"diagnose() expects a recording made by ag.record(...); it was given {type(trace).__name__}")
    if at not in ("end", "peak"):
        raise RecordError(f'diagnose(at=...) expects "end" or "peak", got {at!r}')
    where = _WHERE.get(trace.source, trace.source)
    if at == "peak":
        return at_peak(trace, where)
    report = Diagnosis(
        grew=trace.growth > 0 or trace.slope >= 1,
        growth=trace.growth,
        slope=trace.slope,
        steps=len(trace.steady),
        allocated=trace.final,
        where=where,
    )
    if report.grew:
        _fill(report, trace, seconds)
    return report


def _fill(report: Diagnosis, trace, seconds: float) -> None:
    alive = trace.survivors()
    leftovers = getattr(trace, "leftovers", None) or alive
    _choose_groups(report, group_survivors(leftovers), trace)
    still_there = {survivor.data_ptr for survivor in alive}
    released = sum(pointer not in still_there for group in report.groups for pointer in group.pointers)
    with collector_paused():
        _find_holders(report, trace, still_there, seconds)
    if released:
        total = sum(group.count for group in report.groups)
        which = "They have" if released == total else f"{released:,} of these {total:,} have"
        report.notes.append(f"{which} been released since the recording ended, so their holders are gone.")
    if not report.groups:
        report.notes.append("No storage allocated in the recorded steps is alive: what grew is not a PyTorch tensor.")


def _choose_groups(report: Diagnosis, groups: list[Group], trace) -> None:
    steps = [sample.step for sample in trace.steady] or [0]
    growing, others = split_growing(groups, steps[0], steps[-1])
    if sum(group.occupied for group in growing) * 2 < report.growth:
        report.larger = bool(others) and others[0].count == 1 and report.slope >= 1
        growing = sorted(growing + others[:1] if report.larger else growing + others, key=lambda group: -group.occupied)
    report.groups = growing


def _find_holders(report: Diagnosis, trace, alive: set[int], seconds: float) -> None:
    looked_up = [
        [pointer for pointer in group.pointers if pointer in alive][:_MOST_LOOKED_UP] for group in report.groups
    ]
    search = HolderSearch([pointer for part in looked_up for pointer in part], trace.device.type, seconds)
    for group, pointers in zip(report.groups, looked_up):
        group.holders = search.of(pointers)
        if len(pointers) == _MOST_LOOKED_UP < group.count:
            report.notes.append(f"Holders were looked up for {_MOST_LOOKED_UP} of {group.count:,} tensors.")
    report.graph_nodes = search.graph_nodes
    if not search.complete:
        report.notes.append(f"The search for holders stopped early, after {seconds:.2g} s: some may be missing.")
