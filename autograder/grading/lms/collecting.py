"""Names of submissions in the archives that Moodle and Canvas offer for download, for ``nbgrader zip_collect``.

``c.ZipCollectApp.collector_plugin = "autograder.grading.lms.collecting.MoodleCollector"``
"""

from __future__ import annotations

import os
import re

from nbgrader.plugins import FileNameCollectorPlugin

_MOODLE = re.compile(
    r"(?P<name>[^/\\]+?)_(?P<student_id>\d+)_assignsubmission_file_?[/\\]?(?P<file_id>[^/\\]+)$"
)
_CANVAS = re.compile(
    r"(?P<name>[^/\\_]+)(?:_LATE)?_(?P<student_id>\d+)_(?P<attempt>\d+)_(?P<file_id>.+?)(?:-\d+)?(?P<ext>\.\w+)$"
)
_DOWNLOADED_TWICE = re.compile(r"( \(\d+\)| ?- ?Copy( \(\d+\))?)$")
"""What a browser or a file manager puts behind a name that exists already."""


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
        return {"student_id": found["student_id"], "file_id": _DOWNLOADED_TWICE.sub("", name)}


class MoodleCollector(_LmsCollector):
    """Moodle's "Download all submissions": ``Ada Lovelace_1234_assignsubmission_file_/NOTEBOOK.ipynb``.

    The number is the participant's in this assignment ("Participant 1234" in Moodle's grading worksheet). Folders or
    one flat archive, as the download was asked for.
    """

    pattern = _MOODLE


class CanvasCollector(_LmsCollector):
    """Canvas's "Download Submissions": ``lovelaceada_LATE_1234_5678_NOTEBOOK-1.ipynb``.

    The first number is the student's Canvas id. A number behind the name, which Canvas adds to a second attempt, is
    taken off; the archive holds the latest attempt only.
    """

    pattern = _CANVAS
