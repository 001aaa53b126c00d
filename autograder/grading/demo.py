"""A small made-up class, graded from end to end by nbgrader in a temporary folder.

``python -m autograder.grading.demo`` or ``make grade-demo``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring.build import find_lessons, load
from autograder.authoring.lesson import Lesson
from autograder.errors import LessonError
from autograder.grading.course import Course
from autograder.grading.grade import grade

LESSON = "01_accumulated_metrics"

_NO_CHECKS = "\nag.check.same = ag.check.flat = ag.check.no_graph = lambda *a, **k: 1"


def run(root, lesson: str = LESSON, progress: Callable[[str], None] = print) -> list[tuple[str, float, float, str]]:
    """Grade the made-up class; print and return rows of student, score, maximum and the judge's reason."""
    root = Path(root).resolve()
    (path,) = find_lessons(root, [lesson])
    parsed = load(path)
    folder = Path(tempfile.mkdtemp(prefix="autograder-class-"))
    try:
        course = make_course(root, parsed.slug, folder)
        progress(f"releasing {parsed.slug}")
        course.generate_assignment(parsed.slug)
        for student, notebook in made_up_class(parsed, folder).items():
            submit(folder, student, parsed.slug, notebook)
        progress("grading (each notebook is run, then judged in a fresh process)")
        grade(course, parsed.slug)
        progress("writing feedback")
        course.generate_feedback(parsed.slug)
        rows = course.export(folder / "grades.csv")
        table = [
            (
                row["student_id"],
                float(row["raw_score"] or 0),
                float(row["max_score"]),
                _reason(folder, row, parsed.slug),
            )
            for row in sorted(rows, key=lambda row: row["student_id"])
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for student, score, most, reason in table:
        progress(f"{student:28} {score:g}/{most:g}  {reason}")
    return table


def make_course(root: Path, lesson: str, folder: Path) -> Course:
    """Copy the settings and one lesson's notebook with answers into an empty course folder."""
    source = root / "solutions" / lesson
    if not source.exists():
        raise LessonError(f"{source} is missing; run `make build`")
    shutil.copy(root / "nbgrader_config.py", folder)
    shutil.copytree(source, folder / "solutions" / lesson)
    return Course(folder)


def submit(folder: Path, student: str, lesson: str, notebook: NotebookNode) -> Path:
    """Put a notebook where nbgrader expects a collected submission; return its folder."""
    target = folder / "submitted" / student / lesson
    target.mkdir(parents=True)
    nbformat.write(notebook, target / f"{lesson}.ipynb")
    return target


def made_up_class(lesson: Lesson, folder: Path) -> dict[str, NotebookNode]:
    """Return submissions by student: right, wrong, untouched, and several ways of cheating."""
    released = nbformat.read(folder / "notebooks" / lesson.slug / f"{lesson.slug}.ipynb", as_version=4)
    exercises = lesson.exercises.values()
    right = {exercise.slug: exercise.right[0].source for exercise in exercises}
    wrong = {exercise.slug: exercise.wrong[0].source for exercise in exercises}
    cheat = {slug: source + _NO_CHECKS for slug, source in wrong.items()}
    return {
        "ada-right": with_answers(released, right),
        "bob-wrong": with_answers(released, wrong),
        "cem-untouched": released,
        "dia-replaces-the-checks": with_answers(released, cheat),
        "eli-edits-the-check-cell": with_check_source(with_answers(released, wrong), "3"),
        "fay-deletes-the-check-cell": without_checks(with_answers(released, wrong)),
    }


def with_answers(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """Return a copy with the exercise cells filled in."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        slug = cell.metadata.get("nbgrader", {}).get("grade_id")
        if slug in answers:
            cell.source = answers[slug]
    return copy


def with_check_source(notebook: NotebookNode, source: str) -> NotebookNode:
    """Return a copy whose autograded cells say something else."""
    copy = nbformat.from_dict(notebook)
    for cell in _checks(copy):
        cell.source = source
    return copy


def without_checks(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without its autograded cells."""
    copy = nbformat.from_dict(notebook)
    gone = {cell.id for cell in _checks(copy)}
    copy.cells = [cell for cell in copy.cells if cell.id not in gone]
    return copy


def _checks(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.metadata.get("autograder", {}).get("kind") == "check"]


def _reason(folder: Path, row: dict[str, str], lesson: str) -> str:
    path = folder / "autograded" / row["student_id"] / lesson / f"{lesson}.ipynb"
    errors = [
        output.traceback[0]
        for cell in _checks(nbformat.read(path, as_version=4))
        for output in cell.outputs
        if output.output_type == "error"
    ]
    return errors[0] if errors else ""


if __name__ == "__main__":
    run(Path.cwd())
