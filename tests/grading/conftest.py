"""One small course, graded once with nbgrader from end to end; the tests read its results."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest

from autograder.authoring import build
from autograder.authoring.build import load
from autograder.grading.course import Course
from autograder.grading.demo import make_course, submit, with_answers, with_check_source, without_checks

LESSON = "00_small_leak"
REPOSITORY = Path(__file__).resolve().parents[2]
RIGHT = "def totals(batches):\n    return [float(total(b)) for b in batches]\n"
WRONG = "def totals(batches):\n    return [total(b) for b in batches]\n"
ALWAYS_TRUE = "\nag.check.same = ag.check.flat = ag.check.no_graph = lambda *a, **k: 1\n"
FAKE_PACKAGE = """
class check:
    same = flat = no_graph = staticmethod(lambda *a, **k: 1)
def setup(lesson): return "cpu"
def record(*a, **k): return None
"""

ANSWERS = {
    "right": RIGHT + "import sys\nprint('stderr alone costs points in plain nbgrader', file=sys.stderr)\n",
    "wrong": WRONG,
    "patched_check": WRONG + ALWAYS_TRUE,
    "patched_torch": WRONG
    + "torch.get_device_module('cpu').memory_allocated = lambda *a: 0\ntorch.is_tensor = lambda x: False\n",
    "redefined_helper": WRONG + "def total(batch):\n    return 0.0\ndef make_batches(*a):\n    return []\n",
    "exits": RIGHT + "import os\nos._exit(0)\n",
    "hangs": "def totals(batches):\n    while True: pass\n",
}


@pytest.fixture(scope="session")
def small_course(tmp_path_factory):
    """The class, graded once."""
    course = Course(tmp_path_factory.mktemp("class"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGRADER_DEVICE", "cpu")
        _grade_the_class(tmp_path_factory.mktemp("authors"), course)
    return course


def _grade_the_class(root: Path, course: Course) -> None:
    """Build a lesson, release it, collect one submission of each kind, grade, give feedback, export."""
    (root / "lessons").mkdir()
    shutil.copy(Path(__file__).parent / f"lessons_small/{LESSON}.py", root / "lessons")
    shutil.copy(REPOSITORY / "nbgrader_config.py", root)
    build(root, progress=lambda line: None)
    make_course(root, LESSON, course.root)
    with (course.root / "nbgrader_config.py").open("a") as settings:
        settings.write("\nc.TrustedVerdict.cell_timeout = 8\nc.Execute.timeout = 5\n")
    course.generate_assignment(LESSON)
    _collect(root, course.root)
    course.autograde(LESSON)
    course.generate_feedback(LESSON)
    course.rows = {row["student_id"]: row for row in course.export(course.root / "grades.csv")}


def _collect(root: Path, folder: Path) -> None:
    released = nbformat.read(folder / f"notebooks/{LESSON}/{LESSON}.ipynb", as_version=4)
    slug = next(iter(load(root / f"lessons/{LESSON}.py").exercises))

    def answered(source: str):
        return with_answers(released, {slug: source})

    for student, source in ANSWERS.items():
        submit(folder, student, LESSON, answered(source))
    submit(folder, "untouched", LESSON, released)
    submit(folder, "edited_check_right", LESSON, with_check_source(answered(RIGHT), "raise ValueError"))
    submit(folder, "edited_check_wrong", LESSON, with_check_source(answered(WRONG), "2"))
    submit(folder, "deleted_check", LESSON, without_checks(answered(RIGHT)))
    submit(
        folder,
        "edited_given",
        LESSON,
        _with_given(answered(WRONG), "def total(b): return 0.0\nScale = make_batches = None"),
    )
    submit(folder, "metadata", LESSON, _with_forged_metadata(answered(WRONG)))
    fake = submit(folder, "edited_helper_file", LESSON, answered(WRONG)) / "autograder"
    fake.mkdir()
    (fake / "__init__.py").write_text(FAKE_PACKAGE)


def _with_given(notebook, source: str):
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == "given-world":
            cell.source = source
    return notebook


def _with_forged_metadata(notebook):
    """Worth less, skipped by a tag, of a future schema, one id twice, and a cell that pretends to be graded."""
    forged = nbformat.v4.new_code_cell("2", metadata={"nbgrader": {"grade": True, "grade_id": "bonus", "points": 99}})
    twice = []
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader")
        if about and about["grade"]:
            about.update(points=0, schema_version=99)
            cell.metadata["tags"] = ["skip-execution"]
            twice.append(nbformat.from_dict({**cell, "id": f"twice-{len(twice)}"}))
    notebook.cells = [*twice, forged, *notebook.cells]
    return notebook
