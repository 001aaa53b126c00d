"""Students who handed in something else than was asked for: a wrong folder, a wrong name, nothing in it."""

from __future__ import annotations

import glob
import os
import re

from nbgrader.api import Gradebook, MissingEntry
from rapidfuzz import fuzz

from autograder.errors import GradingFailed

_ALIKE = 60.0
"""Per cent of likeness from which a folder's name counts as a misspelling of the assignment's."""


def expected_notebooks(coursedir) -> list[str]:
    """Return the names of the assignment's notebooks.

    Raises
    ------
    GradingFailed
        If the gradebook does not know the assignment.
    """
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        try:
            return [notebook.name for notebook in gradebook.find_assignment(coursedir.assignment_id).notebooks]
        except MissingEntry:
            known = sorted(assignment.name for assignment in gradebook.assignments)
    raise GradingFailed(
        f"the gradebook has no assignment {coursedir.assignment_id!r}; "
        + (f"it has {', '.join(known)}. " if known else "it is empty. ")
        + f"Release it first: nbgrader generate_assignment {coursedir.assignment_id!r}"
    )


def without_notebook(coursedir, names: list[str]) -> dict[str, list[str]]:
    """Return, by folder, the paths of expected notebooks that are not there although something was handed in.

    ``names`` are the assignment's notebooks. Folders of the assignment's name count, and for students who have none,
    one whose name is much like it and belongs to no other assignment.
    """
    wanted = coursedir.assignment_id
    found: dict[str, list[str]] = {}
    for student, folders in _handed_in(coursedir).items():
        folder = coursedir.format_path(coursedir.submitted_directory, student, wanted)
        if wanted in folders or _misspelt(wanted, folders, coursedir):
            absent = [os.path.join(folder, f"{name}.ipynb") for name in names]
            found[folder] = [path for path in absent if not os.path.lexists(path)]
    return {folder: paths for folder, paths in found.items() if paths}


def _handed_in(coursedir) -> dict[str, list[str]]:
    """Return the names of each student's folders."""
    pattern = coursedir.format_path(coursedir.submitted_directory, coursedir.student_id, "*")
    parts = coursedir.format_path(
        coursedir.submitted_directory, "(?P<student>[^/]*)", "(?P<assignment>[^/]*)", escape=True
    )
    by_student: dict[str, list[str]] = {}
    for folder in sorted(glob.glob(pattern)):
        match = re.fullmatch(parts, folder)
        if match and os.path.isdir(folder):
            by_student.setdefault(match["student"], []).append(match["assignment"])
    return by_student


def _misspelt(wanted: str, folders: list[str], coursedir) -> bool:
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        known = {assignment.name for assignment in gradebook.assignments}
    released = os.path.dirname(coursedir.format_path(coursedir.source_directory, ".", wanted))
    known |= set(os.listdir(released)) if os.path.isdir(released) else set()
    return any(fuzz.ratio(wanted, folder) >= _ALIKE for folder in folders if folder not in known)
