"""What a class got wrong: per exercise the scores, what the checks said how often, and which known mistake it is most like."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode
from nbgrader import utils
from rapidfuzz import fuzz

from autograder.authoring.build import load
from autograder.authoring.lesson import Lesson
from autograder.grading.outcomes import autograded_cells, graded_notebooks, reasons_in

_ALIKE = 50.0
"""Per cent of likeness below which an answer is like no known mistake."""


@dataclass
class Exercise:
    """One autograded cell over a whole class.

    Attributes
    ----------
    name : str
        The exercise, or the cell's ``grade_id`` in a course that is not this one.
    points : float
        The most it gives.
    scores : list of float
        One per submission.
    reasons : Counter
        How often each short reason (what stands before the colon) was given.
    mistakes : Counter
        How many answers are most like each wrong answer that the lesson itself knows.
    """

    name: str
    points: float
    scores: list[float] = field(default_factory=list)
    reasons: Counter = field(default_factory=Counter)
    mistakes: Counter = field(default_factory=Counter)

    @property
    def right(self) -> int:
        """Submissions with all points."""
        return sum(score >= self.points for score in self.scores)

    @property
    def wrong(self) -> int:
        """Submissions without any."""
        return sum(score <= 0 for score in self.scores)

    @property
    def mean(self) -> float:
        """Mean score, in points."""
        return sum(self.scores) / len(self.scores) if self.scores else 0.0

    def to_json(self) -> dict:
        """Return it as plain data."""
        return {
            "exercise": self.name,
            "points": self.points,
            "submissions": len(self.scores),
            "right": self.right,
            "partial": len(self.scores) - self.right - self.wrong,
            "wrong": self.wrong,
            "mean": round(self.mean, 3),
            "reasons": dict(self.reasons.most_common()),
            "like_known_mistake": dict(self.mistakes.most_common()),
        }


def statistics(coursedir, assignment: str, students, lessons: Path) -> list[Exercise]:
    """Return the exercises of an assignment in the notebook's order.

    Parameters
    ----------
    students : iterable of str
        Whose graded notebooks to read.
    lessons : Path
        The folder of lesson sources; without this assignment's, answers are compared with no known mistake.
    """
    source = lessons / f"{assignment}.py"
    lesson = load(source) if source.exists() else None
    found: dict[str, Exercise] = {}
    for student in students:
        for notebook in graded_notebooks(coursedir, student, assignment):
            for cell in autograded_cells(notebook):
                _count(found, cell, notebook, lesson)
    return list(found.values())


def _count(found: dict[str, Exercise], cell: NotebookNode, notebook: NotebookNode, lesson: Lesson | None) -> None:
    name = cell.metadata.get("autograder", {}).get("exercise") or cell.metadata.nbgrader.grade_id
    score, points = utils.determine_grade(cell)
    exercise = found.setdefault(name, Exercise(name, points))
    exercise.scores.append(score or 0.0)
    if (score or 0.0) >= points:
        return
    reasons = reasons_in(cell) or ["no reason given"]
    exercise.reasons.update({_short(reason) for reason in reasons})
    if lesson is not None and name in lesson.exercises:
        mistake = nearest(_answer(notebook, name), " ".join(reasons), lesson.exercises[name].wrong)
        if mistake:
            exercise.mistakes[mistake] += 1


def _short(reason: str) -> str:
    return reason.split(":")[0]


def _answer(notebook: NotebookNode, name: str) -> str:
    cells = (cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name)
    return next((cell.source for cell in cells), "")


def nearest(answer: str, reason: str, mistakes) -> str:
    """Return the name of the known mistake that an answer is most like, empty if none is.

    ``mistakes`` are the lesson's ``wrong`` cells; only those that fail with the same words are compared.
    """
    known = [mistake for mistake in mistakes if mistake.options.get("expects", "") in reason]
    code = _plain(answer)
    ranked = sorted((fuzz.ratio(code, _plain(mistake.source)), mistake.name) for mistake in known)
    return ranked[-1][1] if ranked and ranked[-1][0] >= _ALIKE else ""


def _plain(source: str) -> str:
    """Return code without comments and layout."""
    try:
        return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return source
