"""What became of each submission, read from the graded notebooks and the gradebook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode, reader
from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry

from autograder.grading.submissions import noted
from autograder.judge.process import NOT_JUDGED

RIGHT, PARTIAL, WRONG, CRASHED, UNREADABLE, FAILED = "right", "partial", "wrong", "crashed", "unreadable", "failed"
STATES = (RIGHT, PARTIAL, WRONG, CRASHED, UNREADABLE, FAILED)
_LOOK_AT = ("tampered:", NOT_JUDGED)
"""Words in a reason for which an instructor should look at the submission."""


@dataclass(frozen=True)
class Outcome:
    """One submission.

    Attributes
    ----------
    state : str
        "right" (all points), "partial", "wrong" (none), "crashed" (its kernel ended early, whatever its score),
        "unreadable" (no notebook), "failed" (the grader could not do it).
    score, most : float
        Points from checks, and the most they can give; a late penalty is not taken off.
    reasons : tuple of str
        What the checks said, one line each.
    needs : str
        Why a human should look; empty if nobody need.
    late : float
        Seconds after the due date.
    edited : tuple of str
        Locked cells whose text the submission changed; the instructor's were used instead.
    """

    student: str
    state: str
    score: float = 0.0
    most: float = 0.0
    reasons: tuple[str, ...] = ()
    needs: str = ""
    late: float = 0.0
    edited: tuple[str, ...] = ()

    def to_json(self) -> dict:
        """Return it as plain data."""
        return asdict(self)


def state_of(score: float, most: float, ended: str = "", unreadable: str = "", lost: str = "") -> str:
    """Return the word for a submission with that score."""
    if unreadable or lost:
        return UNREADABLE if unreadable else FAILED
    if ended:
        return CRASHED
    return RIGHT if score >= most else PARTIAL if score > 0 else WRONG


def outcome_of(coursedir, gradebook: Gradebook, student: str, assignment: str) -> Outcome:
    """Return what became of a submission that nbgrader has converted."""
    notebooks = list(graded_notebooks(coursedir, student, assignment))
    if not notebooks:
        return failed(student, "nbgrader gave up on it; its log says why")
    score = most = 0.0
    reasons: list[str] = []
    edited: list[str] = []
    about = {name: "" for name in ("unreadable", "lost", "ended")}
    for notebook in notebooks:
        known = noted(notebook)
        about = {name: about[name] or str(known.get(name, "")) for name in about}
        edited += map(str, known.get("edited") or ())
        got, points = points_in(notebook)
        score, most = score + got, most + points
        reasons += [reason for cell in autograded_cells(notebook) for reason in reasons_in(cell)]
    needs = next(filter(None, about.values()), "") or next((r for r in reasons if any(w in r for w in _LOOK_AT)), "")
    late = _seconds_late(gradebook, student, assignment)
    state = state_of(score, most, **about)
    return Outcome(student, state, score, most, tuple(reasons), needs, late, tuple(edited))


def failed(student: str, why: str) -> Outcome:
    """Return the outcome of a submission that could not be graded at all."""
    return Outcome(student, FAILED, needs=why)


def graded_notebooks(coursedir, student: str, assignment: str) -> Iterator[NotebookNode]:
    """Yield the autograded notebooks of a submission."""
    folder = Path(coursedir.format_path(coursedir.autograded_directory, student, assignment))
    for path in sorted(folder.glob("*.ipynb")):
        yield reader.reads(path.read_text(encoding="utf-8"))  # nbgrader wrote it: there is nothing to validate


def autograded_cells(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Yield the cells whose outputs are the score."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and utils.is_grade(cell) and not utils.is_solution(cell):
            yield cell


def points_in(notebook: NotebookNode) -> tuple[float, float]:
    """Return score and maximum of the autograded cells, as nbgrader reads them."""
    score = most = 0.0
    for cell in autograded_cells(notebook):
        got, points = utils.determine_grade(cell)
        score, most = score + (got or 0.0), most + points
    return score, most


def reasons_in(cell: NotebookNode) -> list[str]:
    """Return the first line of each thing that went wrong in a cell."""
    said = []
    for output in cell.outputs:
        if output.output_type == "error":
            said.append(f"{output.ename}: {output.evalue}" if output.evalue else output.ename)
        elif output.output_type == "stream" and output.name == "stdout" and ": " in output.text.split("\n")[0]:
            said.append(output.text)
    return [text.split("\n")[0] for text in said]


def _seconds_late(gradebook: Gradebook, student: str, assignment: str) -> float:
    try:
        return float(gradebook.find_submission(assignment, student).total_seconds_late)
    except MissingEntry:
        return 0.0
