"""What students hand in: what plain nbgrader can grade, and what it cannot."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from tests.grading.plain_course import NAME, PARTLY, RIGHT, WRONG, answered, cell, hand_in

LATE = "2026-03-02 12:00:00 UTC"
DUE = "2026-03-01 12:00:00 UTC"


def gradable(root: Path, released) -> list[str]:
    """Hand in everything that nbgrader itself can grade; return the students."""

    def give(student, notebook, **files):
        hand_in(root, student, notebook, **files)
        students.append(student)

    students: list[str] = []
    give("right", answered(released, RIGHT))
    give("wrong", answered(released, WRONG))
    give("partly", answered(released, PARTLY))
    give("untouched", released)
    give("stderr", answered(released, "import sys\nprint('!', file=sys.stderr)\n" + RIGHT))
    give("stderr_in_test", answered(released, RIGHT.replace("return", "import sys; print(1, file=sys.stderr); return")))
    give("syntax_error", answered(released, "def double(x:\n"))
    give("raises", answered(released, "def double(x):\n    raise KeyError(x)\n"))
    give("edited_test", answered(released, WRONG, visible="pass\n"))
    give("written", answered(released, RIGHT, why="Two times."))
    give("late", answered(released, RIGHT), timestamp__txt=LATE)
    give("own_file", answered(released, "import helper\ndouble = helper.double\n"), helper__py=RIGHT)
    give("overwrites_data", answered(released, RIGHT), data__txt="0\n")
    give("zoë müller", answered(released, RIGHT))
    give("a plot", answered(released, RIGHT + "print('x' * 10_000)\n"))
    give("hangs", answered(released, "while True:\n    pass\n"))
    give("other_kernel", _with_kernel(answered(released, RIGHT), "no-such-kernel"))
    give("older_format", _older(answered(released, RIGHT)))
    give("extra_cells", _with_extra(answered(released, RIGHT)))
    give("odd_metadata", _with_metadata(answered(released, RIGHT), autograder="none of yours"))
    give("fewer_points", _with_points(answered(released, RIGHT), 99))
    return students


#: Expected state of each submission that plain nbgrader cannot grade or that ends its run, and words of the reason.
BAD = {
    "corrupt": ("unreadable", "is not valid JSON"),
    "empty": ("unreadable", "is empty"),
    "binary": ("unreadable", "is not a text file"),
    "a_list": ("unreadable", "not a notebook"),
    "no_cells": ("unreadable", "not a notebook"),
    "future_format": ("unreadable", "has notebook format 7"),
    "nested": ("unreadable", "nested too deeply"),
    "cell_without_source": ("unreadable", "not a well-formed notebook"),
    "no_notebook": ("unreadable", "expected ps1.ipynb, found homework.ipynb"),
    "nothing": ("unreadable", "the folder is empty"),
    "wrong_folder": ("unreadable", "expected a folder ps1, found pps1"),
    "link": ("unreadable", "is a link, not a file"),
    "linked_folder": ("unreadable", "is a link, not a folder"),
    "future_schema": ("unreadable", "Schema version is too new"),
    "twice": ("right", ""),
    "kills": ("crashed", "ended the kernel"),
    "prints_much": ("crashed", "MiB"),
    "steals": ("wrong", ""),
    "odd_kernel": ("unreadable", "the grader cannot process it"),
    "a_film": ("unreadable", "the files beside the notebook have more than"),
}


def bad(root: Path, released, secret: Path) -> None:
    """Hand in one of each kind of ``BAD``."""
    good = answered(released, RIGHT)
    hand_in(root, "corrupt", b'{"cells": [')
    hand_in(root, "empty", b"")
    hand_in(root, "binary", bytes(range(256)))
    hand_in(root, "a_list", b"[1, 2]")
    hand_in(root, "no_cells", b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}')
    hand_in(root, "future_format", json.dumps({**good, "nbformat": 7}).encode())
    hand_in(root, "nested", b"[" * 100_000)
    hand_in(root, "cell_without_source", _without_source(good))
    hand_in(root, "no_notebook", None, homework__ipynb=json.dumps(good))
    hand_in(root, "nothing", None)
    hand_in(root, "wrong_folder", good, name="pps1")
    os.symlink(secret, hand_in(root, "link", None) / f"{NAME}.ipynb")
    (root / "submitted" / "linked_folder").mkdir()
    os.symlink(secret.parent, root / "submitted" / "linked_folder" / NAME)
    hand_in(root, "future_schema", _with_schema(answered(released, RIGHT)))
    hand_in(root, "twice", _twice(answered(released, RIGHT)))
    hand_in(root, "kills", answered(released, "import os\nos._exit(1)\n"))
    hand_in(root, "prints_much", answered(released, "for _ in range(100):\n    print('x' * 1_000_000)\n"))
    hand_in(root, "odd_kernel", _with_metadata(answered(released, RIGHT), kernelspec=3))
    with open(hand_in(root, "a_film", good) / "film.mp4", "wb") as film:
        film.truncate(300 << 20)
    thief = "double = lambda x: open('notes.txt').read()\n"
    os.symlink(secret, hand_in(root, "steals", answered(released, thief)) / "notes.txt")


def _with_kernel(notebook, name):
    notebook.metadata.kernelspec = {"name": name, "display_name": name, "language": "klingon"}
    return notebook


def _with_metadata(notebook, **metadata):
    notebook.metadata.update(metadata)
    return notebook


def _older(notebook):
    older = copy.deepcopy(notebook)
    older["nbformat_minor"] = 2
    for each in older["cells"]:
        del each["id"]
    return older


def _with_extra(notebook):
    notebook.cells.insert(1, new_code_cell("1 / 0"))
    notebook.cells.append(new_code_cell("double(3)"))
    return notebook


def _with_points(notebook, points):
    cell(notebook, "visible").metadata.nbgrader.points = points
    return notebook


def _with_schema(notebook):
    cell(notebook, "visible").metadata.nbgrader.schema_version = 99
    return notebook


def _twice(notebook):
    notebook.cells.append(nbformat.from_dict({**cell(notebook, "hidden"), "id": "again"}))
    return notebook


def _without_source(notebook):
    broken = copy.deepcopy(notebook)
    del broken["cells"][2]["source"]
    return broken
