"""A graded assignment without its students' names: for a colleague, for research, for next year's class."""

from __future__ import annotations

import csv
from pathlib import Path

import nbformat

from autograder.errors import GradingFailed
from autograder.grading.anonymous import Anonymous
from autograder.grading.outcomes import graded_notebooks, outcome_of


def share(coursedir, assignment: str, students, target: Path, anonymous: Anonymous) -> int:
    """Write every graded notebook and a table of points under anonymous names; return how many submissions.

    Notebook metadata is left out, and so is an id where it stands in the notebook's text; a name that a student wrote
    into a cell otherwise stays: look before you share.

    Raises
    ------
    GradingFailed
        If the folder exists and is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise GradingFailed(f"expected an empty folder to share into, found files in {target}")
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for student in students:
        name = anonymous.name(student)
        outcome = outcome_of(coursedir, student, assignment)
        rows.append([name, assignment, f"{outcome.score:g}", f"{outcome.most:g}", outcome.state])
        for number, notebook in enumerate(graded_notebooks(coursedir, student, assignment)):
            suffix = f"-{number + 1}" if number else ""
            text = nbformat.writes(notebook, version=4).replace(student, name)
            (target / f"{name}{suffix}.ipynb").write_text(text, encoding="utf-8")
    with open(target / "points.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["student", "assignment", "points", "max_points", "state"], *sorted(rows)])
    return len(rows)
