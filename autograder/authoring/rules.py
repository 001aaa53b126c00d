"""What every lesson must hold; each broken rule is one ``LessonError`` with file, cell and reason."""

from __future__ import annotations

import ast
from collections import Counter

from autograder.authoring.lesson import FIXTURES, Cell, Exercise, Lesson
from autograder.judge.source import exported_names, strip_magics

MIN_RIGHT = 3
MIN_WRONG = 4
HINT_TIERS = 3

REGIONS = {"SOLUTION": "exercise", "HIDDEN TESTS": "check"}


def validate(lesson: Lesson) -> None:
    """Check a parsed lesson. Raises ``LessonError`` for the first rule it breaks."""
    for cell in lesson.cells:
        _source(lesson, cell)
    _unique(lesson)
    _references(lesson)
    if len(lesson.of_kind("setup")) != 1:
        lesson.fail(f"a lesson has exactly one set-up cell (# %% setup=true), found {len(lesson.of_kind('setup'))}")
    for exercise in lesson.exercises.values():
        _exercise(lesson, exercise)


def _source(lesson: Lesson, cell: Cell) -> None:
    if not cell.source.strip():
        lesson.fail("the cell is empty", cell)
    for region, home in REGIONS.items():
        _region(lesson, cell, region, allowed=cell.kind == home or (region == "SOLUTION" and cell.kind == "reflect"))
    if not cell.markdown:
        try:
            ast.parse(strip_magics(cell.source))
        except SyntaxError as error:
            lesson.fail(f"line {error.lineno} of the cell is not Python: {error.msg}", cell)


def _region(lesson: Lesson, cell: Cell, region: str, allowed: bool) -> None:
    marks = [
        mark for line in cell.source.split("\n") for mark in ("BEGIN", "END") if line.strip() == f"### {mark} {region}"
    ]
    mentions = sum(line.count(f"BEGIN {region}") + line.count(f"END {region}") for line in cell.source.split("\n"))
    if mentions and not allowed:
        lesson.fail(f"{region} markers belong in {REGIONS[region]} cells, not in a {cell.kind} cell", cell)
    if mentions != len(marks):
        lesson.fail(f"write the markers alone on their line: ### BEGIN {region} and ### END {region}", cell)
    if marks != ["BEGIN", "END"] * (len(marks) // 2):
        lesson.fail(f"### BEGIN {region} and ### END {region} do not pair up", cell)


def _unique(lesson: Lesson) -> None:
    for kind in ("exercise", "given", "hint", "reflect"):
        seen: dict[str, Cell] = {}
        for cell in lesson.of_kind(kind):
            if cell.slug in seen:
                lesson.fail(f"{kind} {cell.slug!r} is already in cell {seen[cell.slug].number}; names are unique", cell)
            seen[cell.slug] = cell


def _references(lesson: Lesson) -> None:
    exercises = lesson.exercises
    for cell in lesson.of_kind("check", "hint", *FIXTURES):
        if cell.slug not in exercises:
            known = ", ".join(exercises) or "none"
            lesson.fail(f"{cell.kind} {cell.slug!r} has no exercise of that name (exercises: {known})", cell)
        if cell.kind == "check" and cell.number < exercises[cell.slug].cell.number:
            lesson.fail(f"the check of {cell.slug!r} stands before its exercise", cell)


def _exercise(lesson: Lesson, exercise: Exercise) -> None:
    cell = exercise.cell
    if "### BEGIN SOLUTION" not in cell.source:
        lesson.fail(f"exercise {exercise.slug!r} has no ### BEGIN SOLUTION ... ### END SOLUTION", cell)
    if not exercise.exports:
        lesson.fail(f"exercise {exercise.slug!r} defines no function, class or variable for its check to use", cell)
    taken = {name for given in lesson.of_kind("given", "setup") for name in exported_names(given.source)}
    for name in exercise.exports:
        if name in taken:
            lesson.fail(
                f"exercise {exercise.slug!r} redefines {name!r}, which a given cell defines for the checks", cell
            )
    if not exercise.checks:
        lesson.fail(f"exercise {exercise.slug!r} has no check", cell)
    if exercise.points <= 0:
        lesson.fail(f"the checks of {exercise.slug!r} are worth no points", exercise.checks[0])
    if len(exercise.tiers) != HINT_TIERS:
        found = f"found {len(exercise.tiers)}" if exercise.hint else "there is no hint cell"
        lesson.fail(
            f"exercise {exercise.slug!r} needs {HINT_TIERS} hint tiers (paragraphs), {found}", exercise.hint or cell
        )
    _fixtures(lesson, exercise)


def _fixtures(lesson: Lesson, exercise: Exercise) -> None:
    for kind, least in (("right", MIN_RIGHT), ("wrong", MIN_WRONG)):
        cells = getattr(exercise, kind)
        if len(cells) < least:
            lesson.fail(
                f"exercise {exercise.slug!r} needs at least {least} {kind} fixtures, found {len(cells)}", exercise.cell
            )
    fixtures = (*exercise.right, *exercise.wrong)
    names = Counter(cell.name for cell in fixtures)
    for cell in fixtures:
        if not isinstance(cell.name, str) or not cell.name:
            lesson.fail(f'the {cell.kind} fixture of {exercise.slug!r} has no name="..."', cell)
        if names[cell.name] > 1:
            lesson.fail(f"two fixtures of {exercise.slug!r} are called {cell.name!r}", cell)
        if cell.kind == "wrong" and not (isinstance(cell.options.get("expects"), str) and cell.options["expects"]):
            lesson.fail(f'the wrong fixture {cell.name!r} does not say which message it expects="..."', cell)
