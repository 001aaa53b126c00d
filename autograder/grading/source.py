"""The instructor's notebook that a submission is graded against: the one in nbgrader's source directory."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.errors import LessonError


def source_path(coursedir, assignment: str, notebook: str) -> Path:
    """Return the path of the notebook with answers; ``coursedir`` is nbgrader's ``CourseDirectory``."""
    return Path(coursedir.format_path(coursedir.source_directory, ".", assignment)) / f"{notebook}.ipynb"


def read_source(path: Path) -> NotebookNode:
    """Read the instructor's notebook. Raises ``LessonError`` if it is not there or is not a notebook."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise LessonError(f"{path}: the notebook with answers is missing; grading needs it. Run `make build`") from None
    except ValueError as error:
        raise LessonError(f"{path}: not a notebook ({str(error).splitlines()[0]}); run `make build`") from None
