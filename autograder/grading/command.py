"""What ``autograder grade``, ``statistics`` and ``share`` print and return."""

from __future__ import annotations

import json
from pathlib import Path

from nbgrader.coursedir import CourseDirectory
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from autograder.errors import GradingFailed
from autograder.grading.anonymous import Anonymous
from autograder.grading.course import Course
from autograder.grading.grade import STATE, Wishes, grade
from autograder.grading.sharing import share as share_graded
from autograder.grading.statistics import Exercise, statistics

__all__ = ["Wishes", "course_at", "run", "share", "show_statistics"]


def run(folder: str, assignment: str, db: str, wishes: Wishes, as_json: bool) -> int:
    """Grade, print the summary on stdout, and return the exit status."""
    summary = grade(course_at(folder, db), assignment, wishes)
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    else:
        summary.print(Console())
    return summary.status


def course_at(folder: str, db: str = "") -> Course:
    """Return the course in a folder; without one, in this folder or the nearest above that has nbgrader's settings.

    Raises
    ------
    GradingFailed
        If there is no such folder.
    """
    if folder:
        if not Path(folder).is_dir():
            raise GradingFailed(f"expected the course's folder, found no folder {folder!r}")
        return Course(Path(folder), db)
    here = Path.cwd()
    root = next((path for path in (here, *here.parents) if (path / "nbgrader_config.py").exists()), None)
    if root is None:
        raise GradingFailed(
            f"expected a folder with nbgrader_config.py, found none from {here} upwards; go there, or give --course FOLDER"
        )
    return Course(root, db)


def show_statistics(folder: str, assignment: str, as_json: bool) -> None:
    """Print, per exercise, the scores of a graded class, what its checks said, and which known mistakes answers are like."""
    course = course_at(folder)
    coursedir, students = _graded(course, assignment)
    exercises = statistics(coursedir, assignment, students, course.root / "lessons")
    if as_json:
        print(json.dumps([exercise.to_json() for exercise in exercises], indent=2))
    else:
        Console().print(_table(exercises, f"{assignment}: {len(students)} submissions"))


def share(folder: str, assignment: str, target: str) -> None:
    """Write the graded notebooks of a class under anonymous names."""
    course = course_at(folder)
    coursedir, students = _graded(course, assignment)
    count = share_graded(coursedir, assignment, students, Path(target), Anonymous(course.root / STATE / "anonymous.key"))
    print(f"{count} submissions in {target}, without names. Names that students wrote into cells are still there.")


def _graded(course: Course, assignment: str) -> tuple[CourseDirectory, list[str]]:
    """Return nbgrader's view of the course, and who has a graded submission."""
    coursedir = CourseDirectory(config=course.config(assignment))
    folder = Path(coursedir.format_path(coursedir.autograded_directory, "*", assignment))
    students = sorted(path.parent.name for path in folder.parent.parent.glob(f"*/{assignment}"))
    if not students:
        raise GradingFailed(f"no graded submission of {assignment!r}; run autograder grade {assignment}")
    return coursedir, students


def _table(exercises: list[Exercise], title: str) -> Table:
    texts = (Column(name, overflow="fold") for name in ("said most often", "most like"))
    counts = Column("right /\npartial /\nwrong", no_wrap=True)
    table = Table(Column("exercise", no_wrap=True), "points", "mean", counts, *texts, title=title)
    for e in exercises:
        partial = len(e.scores) - e.right - e.wrong
        said, like = ("\n".join(f"{n} x {what}" for what, n in c.most_common(3)) for c in (e.reasons, e.mistakes))
        words = e.name, f"{e.points:g}", f"{e.mean:.2f}", f"{e.right} / {partial} / {e.wrong}", said, like or "-"
        table.add_row(*map(Text, words))  # plain: students' code chose some of the words
    return table
