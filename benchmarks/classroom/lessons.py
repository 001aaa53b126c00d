"""A made-up class for a lesson of this course: its own right and wrong answers, in turns."""

from __future__ import annotations

import shutil
from itertools import cycle
from pathlib import Path

import nbformat

from autograder.authoring.build import find_lessons, load
from autograder.grading.course import Course
from autograder.grading.demo import make_course, submit, with_answers


def make_class(root: Path, folder: Path, lesson: str, count: int) -> tuple[Path, str, list[Path]]:
    """Make a course folder with one lesson, release it, and hand in ``count`` submissions."""
    (path,) = find_lessons(root, [lesson])
    parsed = load(path)
    (folder / "course").mkdir()
    course: Course = make_course(root, parsed.slug, folder / "course")
    course.generate_assignment(parsed.slug)
    released = nbformat.read(course.root / "notebooks" / parsed.slug / f"{parsed.slug}.ipynb", as_version=4)
    kinds = cycle(("right", "wrong"))
    for number, kind in zip(range(count), kinds):
        answers = {e.slug: getattr(e, kind)[0].source for e in parsed.exercises.values()}
        submit(course.root, f"student{number:04}", parsed.slug, with_answers(released, answers))
    shutil.copytree(root / "lessons", course.root / "lessons")
    return course.root, parsed.slug, sorted(course.root.glob(f"submitted/*/{parsed.slug}/*.ipynb"))
