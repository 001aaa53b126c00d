"""Grades as Moodle and Canvas import them, through ``nbgrader export``.

``nbgrader export --exporter autograder.grading.lms.exporting.CanvasExporter --to canvas.csv``
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import ExportPlugin
from traitlets import Dict, Unicode


class _TableExporter(ExportPlugin):
    """One row per student, one column per assignment; a late penalty is taken off, and nobody gets less than 0."""

    default_name = "grades.csv"

    def export(self, gradebook: Gradebook) -> None:
        """Write the table to ``to``."""
        with open(self.to or self.default_name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self.rows(gradebook))
        self.log.info("Exporting grades to %s", self.to or self.default_name)

    def rows(self, gradebook: Gradebook) -> Iterator[list[str]]:
        """Yield the table's rows, the header first."""
        raise NotImplementedError

    def _assignments(self, gradebook: Gradebook) -> list:
        return [a for a in gradebook.assignments if not self.assignment or a.name in self.assignment]

    def _students(self, gradebook: Gradebook) -> list:
        return [s for s in gradebook.students if not self.student or s.id in self.student]


class MoodleExporter(_TableExporter):
    """A CSV for Moodle's grade import (Grades, Import, CSV file); map "Email address" or "ID number" to the user.

    Empty cells are students who handed in nothing: Moodle leaves their grade as it is. An id that is an email address,
    as ``MoodleCollector`` makes them with a worksheet, stands in both columns.
    See Moodle's documentation, "Grade import".
    """

    default_name = "moodle.csv"

    def rows(self, gradebook: Gradebook) -> Iterator[list[str]]:
        """Yield identification, then one column per assignment."""
        assignments = self._assignments(gradebook)
        yield ["ID number", "First name", "Surname", "Email address", *(a.name for a in assignments)]
        for student in self._students(gradebook):
            email = student.email or (student.id if "@" in student.id else "")
            who = [student.id, student.first_name or "", student.last_name or "", email]
            yield [*who, *(points(gradebook, assignment.name, student.id) for assignment in assignments)]


class CanvasExporter(_TableExporter):
    """A CSV for the import of Canvas's gradebook: identification, section, one column per assignment.

    Canvas recognises an assignment by ``NAME (ID)``: name the ids in ``c.CanvasExporter.ids``; a column without makes
    a new assignment. Student ids that are numbers are Canvas's own, as ``CanvasCollector`` reads them; others are login
    ids.
    """

    default_name = "canvas.csv"
    ids = Dict({}, help="Canvas's id of each assignment, by nbgrader's name.").tag(config=True)
    section = Unicode("", help="The section that Canvas shows for the students.").tag(config=True)

    def rows(self, gradebook: Gradebook) -> Iterator[list[str]]:
        """Yield the header, the points possible, and a row per student."""
        assignments = self._assignments(gradebook)
        titles = [f"{a.name} ({self.ids[a.name]})" if a.name in self.ids else a.name for a in assignments]
        yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles]
        yield ["    Points Possible", "", "", "", "", *(f"{a.max_score:g}" for a in assignments)]
        for student in self._students(gradebook):
            name = ", ".join(filter(None, (student.last_name, student.first_name))) or student.id
            theirs = (student.id, "") if student.id.isdecimal() else ("", student.id)
            scores = (points(gradebook, assignment.name, student.id) for assignment in assignments)
            yield [name, theirs[0], "", theirs[1], self.section, *scores]


def points(gradebook: Gradebook, assignment: str, student: str) -> str:
    """Return a student's points for an assignment, empty if nothing was handed in."""
    try:
        submission = gradebook.find_submission(assignment, student)
    except MissingEntry:
        return ""
    return f"{max(0.0, submission.score - submission.late_submission_penalty):g}"
