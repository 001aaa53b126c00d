"""Runs nbgrader's commands on a course folder, in this process, with the course's own nbgrader_config.py."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from traitlets.config import Config, PyFileConfigLoader

from autograder.errors import GradingFailed
from autograder.host import environment


class Course:
    """An nbgrader course: a folder with ``nbgrader_config.py`` and, once collected, ``submitted/``.

    Parameters
    ----------
    root : Path
        The folder.
    db_url : str
        The gradebook's database, as SQLAlchemy names it; default: what the settings say, else ``gradebook.db`` there.
    """

    def __init__(self, root: Path, db_url: str = "") -> None:
        self.root = Path(root).resolve()
        self._db = db_url

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

        exporter = CsvExportPlugin(config=self.config(""))
        exporter.to = str(path)
        exporter.log = log()
        with Gradebook(self.db_url) as gradebook:
            exporter.export(gradebook)
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def feedback(self, student: str, lesson: str) -> str:
        """Return a student's feedback page."""
        return (self.root / "feedback" / student / lesson / f"{lesson}.html").read_text(encoding="utf-8")

    @property
    def db_url(self) -> str:
        """The address of the gradebook's database."""
        return self.config("").CourseDirectory.db_url

    def config(self, lesson: str) -> Config:
        """Return nbgrader's settings for a lesson: the course's own file, with its place and database filled in."""
        config = Config()
        if (self.root / "nbgrader_config.py").exists():
            config = PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        config.CourseDirectory.root = str(self.root)
        config.CourseDirectory.assignment_id = lesson
        if self._db or "db_url" not in config.CourseDirectory:
            config.CourseDirectory.db_url = self._db or f"sqlite:///{self.root / 'gradebook.db'}"
        return config

    def converter(self, converter_class, lesson: str, **options):
        """Return one of nbgrader's converters for a lesson, with this course's settings."""
        from nbgrader.coursedir import CourseDirectory

        config = self.config(lesson)
        converter = converter_class(coursedir=CourseDirectory(config=config), config=config, **options)
        converter.log = log()
        return converter

    def _convert(self, converter_class, lesson: str, **options) -> None:
        from nbgrader.utils import capture_log

        converter = self.converter(converter_class, lesson, **options)
        with ready_for_nbgrader():
            outcome = capture_log(converter)
        if not outcome["success"]:
            raise GradingFailed(
                f"nbgrader {converter_class.__name__} failed:\n{outcome.get('log') or outcome['error']}"
            )


@contextlib.contextmanager
def ready_for_nbgrader() -> Iterator[None]:
    """Let nbgrader find its tools and this package, and keep its database layer's warnings to itself."""
    from sqlalchemy.exc import SAWarning

    package = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH")) if part)
    with environment(PATH=_tools_path(), PYTHONPATH=search), warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        yield


def _tools_path() -> str:
    """Return PATH with this interpreter's scripts first: nbgrader starts ``alembic`` by its bare name."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def log() -> logging.Logger:
    """Return the logger of everything that grades."""
    logger = logging.getLogger("autograder.grading")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger
