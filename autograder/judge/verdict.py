"""What the judge found out about one check, and how an exception becomes a sentence."""

from __future__ import annotations

import linecache
import math
from dataclasses import dataclass
from types import TracebackType

from autograder.errors import CheckFailed, Tampered

_TRACEBACK = vars(BaseException)["__traceback__"]


@dataclass(frozen=True)
class Verdict:
    """The score of one check. ``reason`` is empty where nothing is wrong; ``notes`` are remarks that cost nothing."""

    grade_id: str
    exercise: str
    points: float
    score: float
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.score >= self.points and not self.reason

    @property
    def message(self) -> str:
        """Reason and notes as one text."""
        return "\n".join(part for part in (self.reason, *self.notes) if part)


def score_of(value, points: float) -> float:
    """Turn the value of a check's last expression into a score.

    A plain ``int`` or ``float`` is clipped to 0..points (not-a-number counts 0); anything else is full points.
    """
    if type(value) not in (int, float):
        return points
    if math.isnan(value):
        return 0.0
    return float(min(max(value, 0.0), points))


def in_part(score: float, points: float, why: str) -> str:
    """Return the reason for a part of the points: what the check printed, if it did, with the points in front."""
    head = f"{score:g} of {points:g} points"
    if head in why:
        return why
    return f"{head}: {why}" if why else head


def explain(error: BaseException, learners_files: frozenset[str]) -> str:
    """Put an exception into words: its message, and the learner's line it came from if it came from one.

    The exception may be of the learner's making: whatever its methods do, a text comes out.
    """
    try:
        return _explained(error, learners_files)
    except BaseException:  # noqa: BLE001 - a learner's exception may raise anything in __str__
        return "an exception whose message cannot be shown"


def _explained(error: BaseException, learners_files: frozenset[str]) -> str:
    said = str.__str__(str(error))
    if isinstance(error, CheckFailed):
        return said
    if isinstance(error, NotImplementedError):
        text = "not implemented: " + (said or "the exercise still raises NotImplementedError")
    else:
        name = str.__str__(type(error).__name__)
        text = f"{name}: {said}" if said else name
    line = _last_line(_TRACEBACK.__get__(error), learners_files)
    return f"{text} ({line})" if line else text


def forget_frames(error: BaseException) -> None:
    """Take the frames off an exception that the learner may have kept: the check's are among them."""
    _TRACEBACK.__set__(error, None)


def tampered(names: list[str], where: str) -> Tampered:
    """Return the error that says what was replaced and where."""
    listed = ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Tampered(
        "tampered",
        actual=f"{listed} {'was' if len(names) == 1 else 'were'} replaced {where}",
        next_step="The check uses the original: take the replacement out",
    )


def spied(did: str, where: str) -> Tampered:
    """Return the error that says what the learner's code tried, and in which line."""
    return Tampered(
        "tampered",
        actual=f"the answer {did}" + (f", {where}" if where else ""),
        next_step="Nothing of that kind is needed: take it out",
    )


def left_on(switches: list[str]) -> Tampered:
    """Return the error that says what was still on when the results were to be looked at."""
    return Tampered(
        "tampered",
        actual=f"{' and '.join(switches)} while your results were checked",
        next_step="Let your code end what it begins: leave modes, take hooks out, join threads",
    )


def _last_line(traceback: TracebackType | None, learners_files: frozenset[str]) -> str:
    found = ""
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if filename in learners_files:
            source = linecache.getline(filename, traceback.tb_lineno).strip()
            found = f"{filename.strip('<>')}, line {traceback.tb_lineno}" + (f": `{source}`" if source else "")
        traceback = traceback.tb_next
    return found
