"""What was alive at the highest moment of a recording: which lines had allocated it, and in which step.

Rebuilt from the allocator's history that every recording keeps (``device_traces`` of a snapshot), so it works alike on
CUDA, on the simulated GPU and on the CPU ledger. Who held those tensors cannot be known afterwards; that a tensor came
from the step before, though, says that nobody had let go of it yet.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from autograder.trace.sites import Site, is_learners_file, site_at
from autograder.units import human

from .report import as_code

_SHOWN = 6
_AGES = ("in that step", "in the step before", "in earlier steps")


class Alive(NamedTuple):
    """Tensors from one line that were alive at the peak; ``age`` is how many steps old (0, 1, or 2 for more)."""

    site: Site | None
    age: int
    count: int
    nbytes: int


@dataclass(repr=False)
class PeakReport:
    """What was alive when allocated memory was at its highest after warm-up; bytes are above the start.

    Attributes
    ----------
    height : int
        The highest allocated, in bytes above the start of the recording.
    step : int or None
        The step it was in; None for after the last one.
    groups : list[Alive]
        What had been allocated since the recording began and was alive then, largest first.
    """

    height: int
    step: int | None
    groups: list[Alive]
    where: str

    @property
    def from_before(self) -> int:
        """Bytes that were left from steps before."""
        return sum(group.nbytes for group in self.groups if group.age)

    @property
    def headline(self) -> str:
        """One sentence: how high, when, and how much of it was old."""
        when = f"in step {self.step}" if self.step is not None else "after the last step"
        text = f"Highest {when}: {human(self.height)} above the start ({self.where})."
        if self.from_before * 20 < self.height:
            return f"{text} Nearly all of it was made in that step."
        return f"{text} {human(self.from_before)} of it was left from before that step."

    def __repr__(self) -> str:
        lines = [self.headline]
        for group in self.groups[:_SHOWN]:
            lines += [f"  {_how_many(group)}", f"    made {_AGES[group.age]} at {_site(group)}"]
        return "\n".join(lines + self._rest())

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">'
        rows = "".join(
            f"<tr>{cell}{_how_many(group)}</td>{cell}{_AGES[group.age]}</td>{cell}{as_code(_site(group))}</td></tr>"
            for group in self.groups[:_SHOWN]
        )
        heads = "".join(f'<th style="text-align:left">{name}</th>' for name in ("Alive then", "Made", "Allocated at"))
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        return f"<p>{self.headline}</p><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{rest}"

    def _rest(self) -> list[str]:
        hidden = self.groups[_SHOWN:]
        return [f"and {human(sum(group.nbytes for group in hidden))} in smaller groups."] if hidden else []


class _Block(NamedTuple):
    size: int
    step: int
    frames: list


def at_peak(trace, where: str) -> PeakReport:
    """Return what was alive at the highest moment after warm-up of a finished recording."""
    events = _with_steps(trace)
    level, highest, moment = 0, -math.inf, 0
    for index, (event, step) in enumerate(events):
        level += event["size"] if event["action"] == "alloc" else -event["size"]
        if step >= trace.warmup and level > highest:
            highest, moment = level, index
    blocks: dict[int, _Block] = {}
    for event, step in events[: moment + 1]:
        if event["action"] == "alloc":
            blocks[event["addr"]] = _Block(event["size"], step, event["frames"])
        else:
            blocks.pop(event["addr"], None)
    at = events[moment][1] if events else 0
    groups = _grouped(blocks.values(), at)
    return PeakReport(trace.highest - trace.baseline, at if at < len(trace.samples) else None, groups, where)


def _with_steps(trace) -> list[tuple[dict, int]]:
    """Return (event, step) of each allocation and release, with the steps known from each step's allocations.

    The history keeps the newest events only, so allocations are numbered from its end.
    """
    traces = trace.snapshot()["device_traces"]
    events = traces[trace.device.index or 0] if traces else []
    counts = [sample.allocations for sample in (*trace.samples, trace.after_loop)]
    ends = list(itertools.accumulate(counts))
    number = ends[-1] - sum(event["action"] == "alloc" for event in events)
    found = []
    for event in events:
        if event["action"] in ("alloc", "free_completed"):
            found.append((event, bisect_right(ends, number)))
            number += event["action"] == "alloc"
    return found


def _grouped(blocks, at: int) -> list[Alive]:
    totals: dict = defaultdict(lambda: [0, 0])
    for block in blocks:
        total = totals[_place(block.frames), min(2, at - block.step)]
        total[0] += 1
        total[1] += block.size
    found = [Alive(place and site_at(*place), age, count, nbytes) for (place, age), (count, nbytes) in totals.items()]
    return sorted(found, key=lambda group: (-group.nbytes, group.age))


def _place(frames) -> tuple | None:
    for frame in frames or ():
        if is_learners_file(frame["filename"]):
            return frame["filename"], frame["line"], frame["name"]
    return None


def _how_many(group: Alive) -> str:
    return f"{group.count:,} {'tensor' if group.count == 1 else 'tensors'}, {human(group.nbytes)}"


def _site(group: Alive) -> str:
    return str(group.site) if group.site is not None else "a line that was not seen"
