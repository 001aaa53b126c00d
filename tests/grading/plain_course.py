"""Any nbgrader course: one assignment with a solution, visible and hidden tests, a written answer and a data file."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAME = "ps1"
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "plain"
c.Execute.timeout = 4
c.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
"""
RIGHT = "def double(x):\n    return 2 * x\n"
WRONG = "def double(x):\n    return x * x\n"
PARTLY = "def double(x):\n    return 2 * x if x < 100 else 0\n"
HIDDEN = "### BEGIN HIDDEN TESTS\nassert double(1000) == 2000, 'SECRET'\n### END HIDDEN TESTS\n"
PARTIAL_CREDIT = "round(sum(double(n) == 2 * n for n in (0, 1, 2, 3)) / 4 * 3, 2)\n"


def make(root: Path) -> Path:
    """Write a course folder with settings and the instructor's notebook."""
    folder = root / "source" / NAME
    folder.mkdir(parents=True)
    (root / "nbgrader_config.py").write_text(CONFIG)
    (folder / "data.txt").write_text("21\n")
    nbformat.write(source(), folder / f"{NAME}.ipynb")
    return root


def source() -> NotebookNode:
    """Return the instructor's notebook."""
    answer = f"### BEGIN SOLUTION\n{RIGHT}### END SOLUTION\n"
    written = "### BEGIN SOLUTION\nBecause.\n### END SOLUTION\n"
    cells = [
        new_markdown_cell("# Double", id="title"),
        new_code_cell("number = int(open('data.txt').read())\nprint('read', number)", id="given"),
        new_code_cell(answer, id="double", metadata=_about("double", solution=True)),
        new_code_cell("assert double(2) == 4\n", id="visible", metadata=_about("visible", grade=True, points=1)),
        new_code_cell(HIDDEN, id="hidden", metadata=_about("hidden", grade=True, points=2)),
        new_code_cell(PARTIAL_CREDIT, id="partial", metadata=_about("partial", grade=True, points=3)),
        new_markdown_cell(written, id="why", metadata=_about("why", grade=True, solution=True, points=1)),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _about(grade_id: str, grade: bool = False, solution: bool = False, points: int = 0) -> dict:
    about = {"grade": grade, "grade_id": grade_id, "schema_version": 3, "solution": solution, "task": False}
    about["locked"] = grade and not solution
    return {"nbgrader": {**about, "points": points} if grade else about}


def cell(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    """Return a notebook's cell by its id."""
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def answered(released: NotebookNode, answer: str, **also: str) -> NotebookNode:
    """Return a copy of the released notebook with cells replaced by id."""
    copy = nbformat.from_dict(released)
    for grade_id, text in {"double": answer, **also}.items():
        cell(copy, grade_id).source = text
    return copy


def hand_in(root: Path, student: str, notebook: NotebookNode | bytes | None, name: str = NAME, **files: str) -> Path:
    """Put a submission where nbgrader expects it; bytes are written as they are, None writes no notebook."""
    folder = root / "submitted" / student / name
    folder.mkdir(parents=True, exist_ok=True)
    if notebook is not None:
        content = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
        (folder / f"{NAME}.ipynb").write_bytes(content)
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)
    return folder
