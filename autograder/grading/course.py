"""Runs nbgrader's commands on a course folder, in this process, with the course's own nbgrader_config.py."""

from __future__ import annotations

import csv
import logging
import os
import sys
import warnings
from pathlib import Path

from autograder.errors import GradingFailed
from autograder.host import environment


class Course:
    """A folder with ``nbgrader_config.py``, ``solutions/`` and, once collected, ``submitted/``."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()

    def generate_assignment(self, lesson: str) -> None:
        """Release a lesson: fill ``notebooks/`` and the gradebook."""
        from nbgrader.converters import GenerateAssignment

        self._convert(GenerateAssignment, lesson, force=True)

    def autograde(self, lesson: str) -> None:
        """Grade everything submitted for a lesson."""
        from nbgrader.converters import Autograde

        self._convert(Autograde, lesson)

    def generate_feedback(self, lesson: str) -> None:
        """Write one HTML page per submission."""
        from nbgrader.converters import GenerateFeedback

        self._convert(GenerateFeedback, lesson)

    def export(self, path: Path) -> list[dict[str, str]]:
        """Write the gradebook as CSV with nbgrader's own exporter and return its rows."""
        from nbgrader.api import Gradebook
        from nbgrader.plugins import CsvExportPlugin

        exporter = CsvExportPlugin(config=self._config(""))
        exporter.to = str(path)
        exporter.log = _log()
        with Gradebook(self._db_url) as gradebook:
            exporter.export(gradebook)
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def feedback(self, student: str, lesson: str) -> str:
        """Return a student's feedback page."""
        return (self.root / "feedback" / student / lesson / f"{lesson}.html").read_text(encoding="utf-8")

    @property
    def _db_url(self) -> str:
        return f"sqlite:///{self.root / 'gradebook.db'}"

    def _config(self, lesson: str):
        from traitlets.config import PyFileConfigLoader

        config = PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        config.CourseDirectory.root = str(self.root)
        config.CourseDirectory.assignment_id = lesson
        config.CourseDirectory.db_url = self._db_url
        return config

    def _convert(self, converter_class, lesson: str, **options) -> None:
        from nbgrader.coursedir import CourseDirectory
        from nbgrader.utils import capture_log
        from sqlalchemy.exc import SAWarning

        config = self._config(lesson)
        converter = converter_class(coursedir=CourseDirectory(config=config), config=config, **options)
        converter.log = _log()
        package = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
        with environment(PATH=_tools_path(), PYTHONPATH=search), warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)
            outcome = capture_log(converter)
        if not outcome["success"]:
            raise GradingFailed(
                f"nbgrader {converter_class.__name__} failed:\n{outcome.get('log') or outcome['error']}"
            )


def _tools_path() -> str:
    """Return PATH with this interpreter's scripts first: nbgrader starts ``alembic`` by its bare name."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _log() -> logging.Logger:
    log = logging.getLogger("autograder.grading")
    log.setLevel(logging.INFO)
    log.propagate = False
    return log
