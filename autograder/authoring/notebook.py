"""From a lesson to the notebook with answers that nbgrader reads (metadata schema 3)."""

from __future__ import annotations

from collections import Counter

import nbformat
from nbformat import NotebookNode

from autograder.authoring.launchers import Address, install_cell, with_badges
from autograder.authoring.lesson import FIXTURES, Cell, Lesson
from autograder.judge.plan import digest

SCHEMA_VERSION = 3
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}

_ANSWER_BOX = "\n\n### BEGIN SOLUTION\n*Read by a person.*\n### END SOLUTION"


def banner(lesson: Lesson) -> str:
    """Return the note that says which file to edit instead of the generated one."""
    return f"Generated from lessons/{lesson.path.name}: edit that file, then run `make build`."


def solution_notebook(lesson: Lesson, address: Address | None = None) -> NotebookNode:
    """Build the notebook with answers and hidden tests. Cell ids depend only on names and positions."""
    ids = _Ids()
    cells = []
    for index, cell in enumerate(c for c in lesson.cells if c.kind not in FIXTURES):
        if cell.kind == "setup":
            cells.append(_install(ids, address))
        source = with_badges(cell.source, address, lesson.slug) if index == 0 else cell.source
        cells.append(_BUILDERS[cell.kind](ids, lesson, cell, source))
    _let_run_all_go_on(cells)
    metadata = {
        "kernelspec": dict(KERNELSPEC),
        "language_info": {"name": "python"},
        "autograder": {"lesson": lesson.slug, "generated": banner(lesson)},
    }
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def _let_run_all_go_on(cells: list[NotebookNode]) -> None:
    """Tag the cells that fail until the exercise above them is solved, so that "Run All" shows what comes after.

    Source of the tag: "Add a raises-exception tag", nbclient and JupyterLab documentation.
    """
    exercise_seen = False
    for cell in cells:
        kind = cell.metadata.get("autograder", {}).get("kind")
        exercise_seen = exercise_seen or kind == "exercise"
        if exercise_seen and kind in ("demo", "check"):
            cell.metadata["tags"] = ["raises-exception"]


class _Ids:
    """Hands out cell ids: the name alone the first time, then ``name-2``, ``name-3``."""

    def __init__(self) -> None:
        self._used: Counter = Counter()

    def next(self, name: str) -> str:
        self._used[name] += 1
        count = self._used[name]
        return name if count == 1 and name not in ("text", "demo") else f"{name}-{count}"


def _code(cell_id: str, source: str, about: dict, **metadata) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata={"autograder": about, **metadata})
    cell["id"] = nbformat_id(cell_id)
    return cell


def _markdown(cell_id: str, source: str, **metadata) -> NotebookNode:
    cell = nbformat.v4.new_markdown_cell(source, metadata=metadata)
    cell["id"] = nbformat_id(cell_id)
    return cell


def nbformat_id(name: str) -> str:
    """Fit a name to nbformat's cell id rules: letters, digits, ``-`` and ``_``, at most 64 characters."""
    return name if len(name) <= 64 else f"{name[:47]}-{digest(name)}"


def _nbgrader(grade_id: str, *, grade=False, solution=False, locked=False, points=None) -> dict:
    about = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": SCHEMA_VERSION,
        "solution": solution,
        "task": False,
    }
    if grade:
        about["points"] = points
    return about


def _install(ids: _Ids, address: Address | None) -> NotebookNode:
    return _code(
        ids.next("install"),
        install_cell(address),
        {"kind": "install"},
        nbgrader=_nbgrader("install", locked=True),
        jupyter={"source_hidden": True},
    )


def _text(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    return _markdown(ids.next("text"), source)


def _demo(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    return _code(ids.next("demo"), source, {"kind": "demo", "sha": digest(source)})


def _setup(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    return _code(ids.next("setup"), source, {"kind": "setup"}, nbgrader=_nbgrader("setup", locked=True))


def _given(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    cell_id = ids.next(f"given-{cell.slug}")
    return _code(cell_id, source, {"kind": "given"}, nbgrader=_nbgrader(cell_id, locked=True))


def _exercise(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    exports = list(lesson.exercises[cell.slug].exports)
    about = {"kind": "exercise", "exercise": cell.slug, "exports": exports}
    return _code(ids.next(cell.slug), source, about, nbgrader=_nbgrader(cell.slug, solution=True))


def _check(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    cell_id = ids.next(f"check-{cell.slug}")
    about = {"kind": "check", "exercise": cell.slug}
    return _code(cell_id, source, about, nbgrader=_nbgrader(cell_id, grade=True, locked=True, points=cell.points))


def _hint(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    call = f'ag.hint("{cell.slug}")'
    return _code(ids.next(f"hint-{cell.slug}"), call, {"kind": "hint", "sha": digest(call)})


def _reflect(ids: _Ids, lesson: Lesson, cell: Cell, source: str) -> NotebookNode:
    if "### BEGIN SOLUTION" not in source:
        source += _ANSWER_BOX
    cell_id = ids.next(f"reflect-{cell.slug}")
    about = _nbgrader(cell_id, grade=True, solution=True, points=cell.points)
    return _markdown(cell_id, source, nbgrader=about)


_BUILDERS = {
    "text": _text,
    "demo": _demo,
    "setup": _setup,
    "given": _given,
    "exercise": _exercise,
    "check": _check,
    "hint": _hint,
    "reflect": _reflect,
}
