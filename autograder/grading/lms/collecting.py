"""Names of submissions in the archives that Moodle and Canvas offer for download, for ``nbgrader zip_collect``.

``c.ZipCollectApp.collector_plugin = "autograder.grading.lms.collecting.MoodleCollector"``
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

from nbgrader.plugins import FileNameCollectorPlugin

_MOODLE = re.compile(
    r"(?P<name>[^/\\]+?)_(?P<student_id>\d+)_assignsubmission_file_?[/\\]?(?P<file_id>[^/\\]+)$"
)
_CANVAS = re.compile(
    r"(?P<name>[^/\\_]+)(?:_LATE)?_(?P<student_id>\d+)_(?P<attempt>\d+)_(?P<file_id>.+?)(?:-\d+)?(?P<ext>\.\w+)$"
)
_DOWNLOADED_TWICE = re.compile(r"( \(\d+\)| ?- ?Copy( \(\d+\))?)$")
"""What a browser or a file manager puts behind a name that exists already."""
_EMAIL = re.compile(r"[^\s@/\\]+@[^\s@/\\]+")


class _LmsCollector(FileNameCollectorPlugin):
    """Finds student and notebook in a submission's path."""

    pattern: re.Pattern
    valid_ext = FileNameCollectorPlugin.valid_ext

    def collect(self, submitted_file: str) -> dict | None:
        """Return ``student_id`` and ``file_id`` of a submitted file, None if it is to be skipped."""
        if os.path.splitext(submitted_file)[1] not in self.valid_ext:
            return None
        found = self.pattern.search(submitted_file)
        if found is None:
            self.log.warning("Not named as this system names submissions: %s", submitted_file)
            return None
        name = os.path.splitext(found["file_id"])[0]
        student = self.student(found["student_id"], Path(submitted_file))
        return {"student_id": student, "file_id": _DOWNLOADED_TWICE.sub("", name)}

    def student(self, number: str, path: Path) -> str:
        """Return a student's id in the gradebook, given the number in the name of the submitted file."""
        return number


class MoodleCollector(_LmsCollector):
    """Moodle's "Download all submissions": ``Ada Lovelace_1234_assignsubmission_file_/NOTEBOOK.ipynb``.

    The number is the participant's in this one assignment ("Participant 1234" in Moodle's grading worksheet); it says
    nothing about who that is in the next. With the worksheet, a CSV file beside ``archive/``, the id is the email
    address. Folders or one flat archive, as the download was asked for.
    """

    pattern = _MOODLE

    def student(self, number: str, path: Path) -> str:
        """Return the participant's email address if a worksheet tells it, else the number."""
        extracted = next((folder for folder in path.parents if folder.name == "extracted"), None)
        sheets = sorted(extracted.parent.glob("*.csv")) if extracted else []
        found = next((emails[number] for emails in map(_emails, sheets) if number in emails), None)
        if found is None and sheets:
            self.log.warning("Participant %s is in none of %s", number, ", ".join(sheet.name for sheet in sheets))
        return found or number


def _emails(worksheet: Path) -> dict[str, str]:
    """Return participants' email addresses by number; columns are known by content, whatever their language."""
    with open(worksheet, newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [row for row in csv.reader(file) if row]
    numbers = ((re.search(r"(\d+)$", row[0].strip()), row) for row in rows)
    emails = ((found[1], next((cell for cell in row if _EMAIL.fullmatch(cell)), "")) for found, row in numbers if found)
    return {number: email for number, email in emails if email}


class CanvasCollector(_LmsCollector):
    """Canvas's "Download Submissions": ``lovelaceada_LATE_1234_5678_NOTEBOOK-1.ipynb``.

    The first number is the student's Canvas id. A number behind the name, which Canvas adds to a second attempt, is
    taken off; the archive holds the latest attempt only.
    """

    pattern = _CANVAS
