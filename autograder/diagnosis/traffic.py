"""Which lines allocate, how often and how much: for loops that do not grow and are still busy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from autograder.errors import RecordError
from autograder.trace.sites import Site, is_learners_file, site_at
from autograder.units import human

from .report import as_code

_SHOWN = 8


class Line(NamedTuple):
    """One line of the learner's code: allocations per step, and the bytes of their blocks per step.

    ``site`` is None for memory that no line of the learner's asked for (on a real GPU, the backward pass).
    """

    site: Site | None
    allocations: float
    nbytes: float


@dataclass(repr=False)
class Traffic:
    """The lines that allocated while recording, the one with most bytes first."""

    lines: list[Line]

    @property
    def headline(self) -> str:
        """One sentence: allocations and bytes per step, all lines together."""
        count, nbytes = (sum(getattr(line, name) for line in self.lines) for name in ("allocations", "nbytes"))
        return f"{_rounded(count)} allocations per step, {human(nbytes)} in all."

    def __repr__(self) -> str:
        rows = [f"  {_rounded(line.allocations):>6} x {human(line.nbytes):>10}  {_words(line)}" for line in self._shown]
        return "\n".join([self.headline, *rows, *self._rest()])

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">'
        rows = "".join(
            f"<tr><td>{_rounded(line.allocations)}</td><td>{human(line.nbytes)}</td>{cell}{as_code(_words(line))}</td></tr>"
            for line in self._shown
        )
        head = '<th>Allocations per step</th><th>Bytes per step</th><th style="text-align:left">Line</th>'
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return f"<p>{self.headline}</p>{table}" + "".join(f"<p>{text}</p>" for text in self._rest())

    @property
    def _shown(self) -> list[Line]:
        return self.lines[:_SHOWN]

    def _rest(self) -> list[str]:
        hidden = self.lines[_SHOWN:]
        if not hidden:
            return []
        return [f"and {len(hidden)} smaller lines, {human(sum(line.nbytes for line in hidden))} in all."]


def traffic(trace) -> Traffic:
    """Say which lines allocated device memory in a recording: how often per step, and how many bytes.

    Read from the allocator's history (``device_traces`` in the format of ``torch.cuda.memory._snapshot()``), which keeps
    the last 20,000 events; warm-up steps are included. Raises RecordError when ``trace`` is not a finished recording.
    """
    if not hasattr(trace, "snapshot") or not hasattr(trace, "samples"):
        raise RecordError(f"traffic() expects a recording made by ag.record(...); it was given {type(trace).__name__}")
    counts: Counter = Counter()
    nbytes: Counter = Counter()
    for event in (event for events in trace.snapshot()["device_traces"] for event in events):
        if event["action"] == "alloc":
            place = _place(event["frames"])
            counts[place] += 1
            nbytes[place] += event["size"]
    steps = max(1, len(trace.samples))
    lines = [Line(place and site_at(*place), counts[place] / steps, nbytes[place] / steps) for place in counts]
    return Traffic(sorted(lines, key=lambda line: -line.nbytes))


def _place(frames: list[dict]) -> tuple[str, int, str] | None:
    """Return file, line and function of the innermost frame that is the learner's."""
    mine = (frame for frame in frames if is_learners_file(frame["filename"]))
    return next(((frame["filename"], frame["line"], frame["name"]) for frame in mine), None)


def _words(line: Line) -> str:
    return str(line.site) if line.site is not None else "a line that was not seen"


def _rounded(number: float) -> str:
    return "<0.1" if 0 < number < 0.05 else f"{number:.1f}".removesuffix(".0")
