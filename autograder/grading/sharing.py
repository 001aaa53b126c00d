"""A graded assignment without its students' names: for a colleague, for research, for next year's class."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook

from autograder.errors import GradingFailed
from autograder.grading.anonymous import Anonymous
from autograder.grading.outcomes import graded_notebooks, outcome_of


def share(coursedir, assignment: str, students, target: Path, anonymous: Anonymous) -> int:
    """Write every graded notebook and a table of points under anonymous names; return how many submissions.

    An id is replaced where it stands as a word in a cell or an output; a name that a student wrote into a cell otherwise
    stays: look before you share.

    Raises
    ------
    GradingFailed
        If the folder exists and is not empty.
    """
    if target.exists() and any(target.iterdir()):
        raise GradingFailed(f"expected an empty folder to share into, found files in {target}")
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        outcomes = {student: outcome_of(coursedir, gradebook, student, assignment) for student in students}
    for student, outcome in outcomes.items():
        name = anonymous.name(student)
        rows.append([name, assignment, f"{outcome.score:g}", f"{outcome.most:g}", outcome.state])
        for number, notebook in enumerate(graded_notebooks(coursedir, student, assignment)):
            suffix = f"-{number + 1}" if number else ""
            nbformat.write(_without(student, name, notebook), target / f"{name}{suffix}.ipynb")
    with open(target / "points.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["student", "assignment", "points", "max_points", "state"], *sorted(rows)])
    return len(rows)


def _without(student: str, name: str, notebook: NotebookNode) -> NotebookNode:
    """Put the name in the id's place in everything that a person reads."""
    word = re.compile(rf"(?<!\w){re.escape(student)}(?!\w)")

    def renamed(value):
        if isinstance(value, str):
            return word.sub(name, value)
        return [renamed(part) for part in value] if isinstance(value, list) else value

    for cell in notebook.cells:
        cell.source = renamed(cell.source)
        for output in cell.get("outputs", ()):
            for key in ("text", "evalue", "traceback"):
                if key in output:
                    output[key] = renamed(output[key])
            for kind, value in output.get("data", {}).items():
                output.data[kind] = renamed(value) if kind.startswith("text/") else value
    return notebook
