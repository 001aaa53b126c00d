"""Which submissions a run has still to grade, on disk, so that a run that was cut short is continued by the next.

nbgrader takes a submission for graded as soon as its autograded folder exists. A run that dies in the middle leaves
such a folder with half a notebook, and the next one would skip that student for good.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote


class Pending:
    """One empty file per submission that is still to be graded."""

    def __init__(self, folder: Path, assignment: str) -> None:
        self._folder = Path(folder) / quote(assignment, safe="")

    def students(self) -> set[str]:
        """Return who is left from a run that was cut short."""
        try:
            return {unquote(path.name) for path in self._folder.iterdir()}
        except FileNotFoundError:
            return set()

    def add(self, students) -> None:
        """Note submissions before the first of them is touched."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for student in students:
            (self._folder / quote(student, safe="")).touch()

    def done(self, student: str) -> None:
        """Note that a submission's scores are in the gradebook."""
        (self._folder / quote(student, safe="")).unlink(missing_ok=True)
