"""``make build``: every lesson becomes a solution notebook, a student notebook and a data file.

All is built in a temporary folder first, so a lesson that cannot be built leaves the old files alone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring.launchers import read_address
from autograder.authoring.lesson import Exercise, Lesson, parse
from autograder.authoring.notebook import banner, solution_notebook
from autograder.authoring.release import release, write_notebook
from autograder.authoring.rules import validate
from autograder.errors import LessonError, UnknownLesson
from autograder.journal.course import fingerprint

DATA = Path("autograder") / "data"


def find_lessons(root: Path, names: Iterable[str] | None = None) -> list[Path]:
    """Return lesson sources in order: all, or those named (``"01"`` or ``"01_accumulated_metrics"``)."""
    paths = sorted((Path(root) / "lessons").glob("*.py"))
    if not paths:
        raise LessonError(f"no lessons in {Path(root) / 'lessons'}; a lesson is a file NN_short_name.py there")
    if names is None:
        return paths
    chosen = []
    for name in names:
        stem = Path(name).stem
        found = [path for path in paths if path.stem == stem or path.stem.startswith(f"{stem}_")]
        if len(found) != 1:
            raise UnknownLesson(f"no lesson {name!r}; there are: {', '.join(path.stem for path in paths)}")
        chosen += found
    return chosen


def load(path: Path) -> Lesson:
    """Parse and validate one lesson."""
    lesson = parse(path)
    validate(lesson)
    return lesson


def data_of(lesson: Lesson, released: NotebookNode) -> dict:
    """Return what the package may know of a lesson at the learner's side: no answers, no hidden tests.

    Check cells are known by the fingerprint of their source in the ``released`` notebook.
    """
    shown = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in released.cells}
    return {
        "generated": banner(lesson),
        "slug": lesson.slug,
        "title": lesson.title,
        "minutes": lesson.minutes,
        "exercises": {
            slug: {
                "points": exercise.points,
                "checks": {
                    name: {"points": check.points, "source": fingerprint(shown[name])}
                    for name, check in zip(_check_names(exercise), exercise.checks)
                },
                "hints": exercise.tiers,
            }
            for slug, exercise in lesson.exercises.items()
        },
        "reflections": [cell.slug for cell in lesson.of_kind("reflect")],
        **lesson.extras,
    }


def _check_names(exercise: Exercise) -> list[str]:
    first = f"check-{exercise.slug}"
    return [first, *(f"{first}-{number}" for number in range(2, len(exercise.checks) + 1))]


def outputs(slug: str) -> list[Path]:
    """Return the three generated files of a lesson, relative to the repository root."""
    notebook = Path(slug) / f"{slug}.ipynb"
    return [Path("solutions") / notebook, Path("notebooks") / notebook, DATA / f"{slug}.json"]


def build_into(target: Path, lessons: list[Lesson], root: Path) -> None:
    """Build lessons below ``target`` (an empty folder)."""
    address = read_address(root)
    for lesson in lessons:
        solution, released, data = (target / path for path in outputs(lesson.slug))
        write_notebook(solution_notebook(lesson, address), solution)
        release(target, lesson.slug)
        data.parent.mkdir(parents=True, exist_ok=True)
        about = data_of(lesson, nbformat.read(released, as_version=4))
        data.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def build(root, lessons: Iterable[str] | None = None, progress=print) -> list[Path]:
    """Generate the files of all lessons, or of those named. Returns the paths that changed.

    Raises ``LessonError`` if any lesson cannot be built; then no file has changed.
    """
    root = Path(root).resolve()
    parsed = [load(path) for path in find_lessons(root, lessons)]
    target = Path(tempfile.mkdtemp(prefix=".build-", dir=root))
    try:
        build_into(target, parsed, root)
        changed = []
        for lesson in parsed:
            moved = [path for path in outputs(lesson.slug) if _swap(target / path, root / path)]
            progress(f"{lesson.slug}: {'built' if moved else 'unchanged'}")
            changed += moved
        if lessons is None:
            for path in stale(root, {lesson.slug for lesson in parsed}):
                progress(f"{path}: removed, its lesson is gone")
                _remove(root / path)
                changed.append(path)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    return changed


def stale(root: Path, slugs: set[str]) -> list[Path]:
    """Return generated files under ``root`` whose lesson no longer exists."""
    found = [*root.glob("solutions/*/*.ipynb"), *root.glob("notebooks/*/*.ipynb"), *(root / DATA).glob("*.json")]
    return sorted(p.relative_to(root) for p in found if p.stem not in slugs and _is_generated(p))


def _is_generated(path: Path) -> bool:
    return "Generated from lessons/" in path.read_text(encoding="utf-8", errors="replace")


def _swap(new: Path, old: Path) -> bool:
    if old.exists() and old.read_bytes() == new.read_bytes():
        return False
    old.parent.mkdir(parents=True, exist_ok=True)
    os.replace(new, old)
    return True


def _remove(path: Path) -> None:
    path.unlink()
    if path.suffix == ".ipynb" and not any(path.parent.iterdir()):
        path.parent.rmdir()
