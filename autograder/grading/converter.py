"""nbgrader's ``Autograde`` for a whole class: nobody is left out, and a run that was cut short is continued."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import DeduplicateIds, Execute
from nbgrader.utils import rmtree
from sqlalchemy.exc import OperationalError

from autograder.grading import field as fields
from autograder.grading.duplicates import ForgivingDeduplicateIds
from autograder.grading.execution import FarmedExecute
from autograder.grading.farm import Farm
from autograder.grading.intake import AnyNotebook
from autograder.grading.missing import expected_notebooks, without_notebook
from autograder.grading.pending import Pending
from autograder.grading.submissions import resources_for, wanted

_OURS = {Execute: FarmedExecute, DeduplicateIds: ForgivingDeduplicateIds}
"""What takes the place of nbgrader's own steps in a course whose settings do not name ours."""


class Listener(Protocol):
    """Who wants to know how a run goes."""

    def begin(self, total: int) -> None:
        """So many submissions are going to be graded."""

    def saved(self, student: str) -> None:
        """A submission's scores are in the gradebook."""


class ClassAutograde(Autograde):
    """nbgrader's converter; every score, penalty and row is still written by nbgrader's own code, in its own order.

    Parameters
    ----------
    farm : Farm
        Where notebooks are executed.
    pending : Pending
        What an earlier run had still to do.
    students : list of str
        Grade only these; everyone if empty.
    listener : Listener
        Told how many submissions there are, and each whose scores are in the gradebook.
    """

    def __init__(self, *, farm: Farm, pending: Pending, students=(), listener: Listener, **options) -> None:
        super().__init__(**options)
        self.farm, self.pending, self.listener = farm, pending, listener
        self.only = frozenset(students)
        self.wanted: frozenset[str] = frozenset()
        self.skipped = 0
        self.failures: dict[str, str] = {}
        self.exporter_class = AnyNotebook
        self.sanitize_preprocessors = [_ours(step) for step in self.sanitize_preprocessors]
        self.autograde_preprocessors = [_ours(step) for step in self.autograde_preprocessors]

    def init_notebooks(self) -> None:
        """Find what was handed in, also by those who handed in something else than was asked for."""
        names = expected_notebooks(self.coursedir)
        with contextlib.suppress(NbGraderException):
            super().init_notebooks()
        for folder, paths in without_notebook(self.coursedir, names).items():
            self.assignments[folder] = [*self.assignments.get(folder, ()), *paths]
        students = {folder: self._student(paths[0]) for folder, paths in self.assignments.items()}
        if self.only:
            self.assignments = {f: paths for f, paths in self.assignments.items() if students[f] in self.only}
        absent = sorted(self.only - set(students.values()))
        if absent or not self.assignments:
            raise NbGraderException(self._nothing_from(absent))

    def convert_notebooks(self) -> None:
        """Note what is to be done, then let nbgrader do it."""
        here = {self._student(paths[0]) for paths in self.assignments.values()}
        self.wanted = frozenset(self._to_grade(here))
        self.pending.add(self.wanted)
        self.skipped = len(here) - len(self.wanted)
        self._field = fields.prepare(self, farm=self.farm, wanted=lambda student: student in self.wanted)
        self.listener.begin(len(self.wanted))
        super().convert_notebooks()

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        """Decide whether to grade a submission; what an earlier run left of it goes away."""
        if student_id not in self.wanted:
            self.log.info("Already graded: %s", student_id)
            return False
        graded = os.path.normpath(self._format_dest(assignment_id, student_id))
        if os.path.exists(graded):
            rmtree(graded)
        return True

    def init_assignment(self, assignment_id: str, student_id: str) -> None:
        """Copy what lies beside the notebook, but follow no link: it could bring any file here within reach."""
        folder = Path(self._format_source(assignment_id, student_id))
        linked = next((path for path in (folder, folder.parent) if path.is_symlink()), None)
        links = {glob.escape(path.name) for path in folder.rglob("*") if path.is_symlink()} if folder.is_dir() else set()
        if linked is not None:
            links = {"*"}
            for path in self.notebooks:
                self.exporter.refuse(path, f"{linked.name} is a link, not a folder; hand in the folder itself")
        with self._failure_noted(student_id), self._ignoring(links):
            super().init_assignment(assignment_id, student_id)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Convert a notebook; one that makes any step fail is graded as unreadable, with the reason."""
        try:
            super().convert_single_notebook(notebook_filename)
        except OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a submission holds, the student gets a score and a reason
            self.log.error("%s: %s: %s", notebook_filename, type(error).__name__, error)
            self.exporter.refuse(notebook_filename, f"the grader cannot process it ({type(error).__name__}: {error})")
            with self._failure_noted(self._student(notebook_filename)):
                super().convert_single_notebook(notebook_filename)

    def set_permissions(self, assignment_id: str, student_id: str) -> None:
        """The last thing that nbgrader does for a submission: its scores are saved."""
        super().set_permissions(assignment_id, student_id)
        self.pending.done(student_id)
        self._field.saved(student_id)
        self.listener.saved(student_id)

    def _to_grade(self, here: set[str]) -> set[str]:
        left = self.pending.students() & here
        if left:
            self.log.warning("Continuing a run that was cut short: %d submissions are left.", len(left))
        if left and self.force:
            return left
        return left | {s for s in here if wanted(self, s, self.coursedir.assignment_id)}

    def _student(self, path: str) -> str:
        return resources_for(self, path)["nbgrader"]["student"]

    def _nothing_from(self, absent: list[str]) -> str:
        folder = self.coursedir.format_path(self.coursedir.submitted_directory, "STUDENT", self.coursedir.assignment_id)
        whom = f"from {', '.join(absent)}" if absent else "from anyone"
        return f"nothing was handed in {whom}; expected {folder}{os.sep}*.ipynb"

    @contextlib.contextmanager
    def _failure_noted(self, student: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.failures[student] = f"{type(error).__name__}: {error}"
            raise

    @contextlib.contextmanager
    def _ignoring(self, names: set[str]) -> Iterator[None]:
        before = self.coursedir.ignore
        self.coursedir.ignore = [*before, *names]
        try:
            yield
        finally:
            self.coursedir.ignore = before


def _ours(step):
    """Return the step that takes another's place; a step may be a class or its dotted name."""
    for theirs, ours in _OURS.items():
        if step is theirs or step in (f"nbgrader.preprocessors.{theirs.__name__}", f"{theirs.__module__}.{theirs.__name__}"):
            return ours
    return step
