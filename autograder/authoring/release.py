"""From notebooks with answers to what students open, by nbgrader's own ``generate_assignment``."""

from __future__ import annotations

import logging
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.errors import LessonError

_KEPT_NOTEBOOK_KEYS = ("autograder", "kernelspec", "language_info")


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook so that equal content gives equal bytes: sorted keys, no outputs, final newline."""
    notebook.metadata = NotebookNode(
        {key: notebook.metadata[key] for key in _KEPT_NOTEBOOK_KEYS if key in notebook.metadata}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")


def release(root: Path, slug: str) -> None:
    """Make ``root/notebooks/slug`` from ``root/solutions/slug``, as ``nbgrader generate_assignment --no-db`` does.

    Raises ``LessonError`` with nbgrader's own last error line if it refuses the notebook.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import capture_log
    from traitlets.config import Config

    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.source_directory = "solutions"
    config.CourseDirectory.release_directory = "notebooks"
    config.CourseDirectory.assignment_id = slug
    config.GenerateAssignment.no_database = True
    config.SaveCells.enabled = False
    converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
    converter.log = _quiet_log()
    outcome = capture_log(converter)
    if not outcome["success"]:
        raise LessonError(f"lessons/{slug}.py: nbgrader refuses it: {_reason(outcome)}")
    path = root / "notebooks" / slug / f"{slug}.ipynb"
    write_notebook(nbformat.read(path, as_version=4), path)


def _quiet_log() -> logging.Logger:
    log = logging.getLogger("autograder.release")
    log.setLevel(logging.INFO)
    log.propagate = False
    return log


def _reason(outcome: dict) -> str:
    lines = [line for line in (outcome.get("log", "") + outcome.get("error", "")).strip().split("\n") if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return (errors or lines or ["no reason given"])[0].strip()
