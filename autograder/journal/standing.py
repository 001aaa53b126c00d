"""How far the learner has come, from the journal: a table in a terminal, and one in a notebook."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

from autograder.journal import store
from autograder.journal.course import Lesson, lessons
from autograder.journal.store import Entry

UNTOUCHED, ATTEMPTED, SOLVED = "untouched", "attempted", "solved"
FAILING = "solved before, failing now"
_COLOURS = {SOLVED: "#2e7d32", FAILING: "#b26a00", ATTEMPTED: "#b26a00", UNTOUCHED: "#767676"}


class Standing(NamedTuple):
    """One exercise: its state, and the best points of each of its checks, added up."""

    lesson: Lesson
    exercise: str
    state: str
    points: float

    @property
    def full(self) -> float:
        return self.lesson.points(self.exercise)


class Progress:
    """Where the learner stands in every exercise of the course; shown as a table."""

    def __init__(self, standings: list[Standing], journal: Path, aside: Path | None = None) -> None:
        self.standings, self.journal, self.aside = standings, journal, aside

    def count(self, *states: str) -> int:
        """Return how many exercises are in one of these states."""
        return sum(standing.state in states for standing in self.standings)

    @property
    def summary(self) -> str:
        points, full = (sum(getattr(s, name) for s in self.standings) for name in ("points", "full"))
        return (
            f"{self.count(SOLVED, FAILING)} of {len(self.standings)} exercises solved, "
            f"{self.count(ATTEMPTED)} attempted, {self.count(UNTOUCHED)} untouched; {points:g} of {full:g} points"
        )

    def _notes(self) -> list[str]:
        notes = [f"Kept in {self.journal}" if self.journal.exists() else "Checks that you run are noted from now on."]
        if self.aside:
            notes.append(f"Part of it could not be read; the file as it was is {self.aside}")
        return notes

    def _rows(self) -> list[tuple[str, ...]]:
        rows, last = [], None
        for standing in self.standings:
            lesson = f"{standing.lesson.slug[:2]} · {standing.lesson.title}" if standing.lesson != last else ""
            last = standing.lesson
            rows.append((lesson, standing.exercise, standing.state, f"{standing.points:g} of {standing.full:g}"))
        return rows

    def __repr__(self) -> str:
        rows = [("lesson", "exercise", "state", "points"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, "", self.summary, *self._notes()])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        head = "".join(f"<th {left}>{name}</th>" for name in ("lesson", "exercise", "state", "points"))
        body = ""
        for lesson, exercise, state, points in self._rows():
            colour = f"style='text-align:left;color:{_COLOURS[state]};font-weight:600'"
            cells = f"<td {left}>{escape(lesson)}</td><td {left}><code>{escape(exercise)}</code></td>"
            body += f"<tr>{cells}<td {colour}>{state}</td><td {left}>{points}</td></tr>"
        notes = "<br>".join(escape(note) for note in self._notes())
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p><b>{escape(self.summary)}</b><br><small>{notes}</small></p>"
        )


def progress(journal: Path | str | None = None) -> Progress:
    """Show which exercises are solved, attempted and untouched, with points, over all lessons.

    A check that ran with all its points solves its exercise, and it stays solved: should the check fail later, the
    state says "solved before, failing now" and the best points stay. A failing check, or one with part of the points,
    is an attempt; a stub that was only run is not. ``journal`` is a file to read instead of the one nearby
    (see ``journal.store.journal_near``). A damaged file is set aside, and what can be read of it is carried over.
    """
    path = Path(journal) if journal is not None else store.journal_near(Path.cwd())
    entries, aside = store.read(path)
    by_exercise: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        runs = by_exercise.setdefault((entry.lesson, entry.exercise), [])
        runs.clear() if entry.outcome == "reset" else runs.append(entry)
    standings = [
        _standing(lesson, exercise, by_exercise.get((lesson.slug, exercise), []))
        for lesson in lessons()
        for exercise in lesson.exercises
    ]
    return Progress(standings, path, aside)


def _standing(lesson: Lesson, exercise: str, runs: list[Entry]) -> Standing:
    checks = [check for check in lesson.checks if check.exercise == exercise]
    best = {check.name: max([0, *(r.points for r in runs if r.check == check.name)]) for check in checks}
    latest = {run.check: run.outcome for run in runs}
    points = sum(min(best[check.name], check.points) for check in checks)
    solved = all(any(run.outcome == "passed" for run in runs if run.check == check.name) for check in checks)
    if not runs:
        state = UNTOUCHED
    elif not solved:
        state = ATTEMPTED
    else:
        state = FAILING if "failed" in latest.values() else SOLVED
    return Standing(lesson, exercise, state, points)
