"""What the package knows of the course's exercises: titles, points, and the text of each check cell as released."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parents[1] / "data"


class CheckCell(NamedTuple):
    """One autograded cell: its name, its points, and the fingerprint of its source."""

    name: str
    exercise: str
    points: float
    source: str


class Lesson(NamedTuple):
    """A lesson and its checks, in order."""

    slug: str
    title: str
    checks: tuple[CheckCell, ...]

    def points(self, exercise: str) -> float:
        return sum(check.points for check in self.checks if check.exercise == exercise)

    @property
    def exercises(self) -> list[str]:
        return list(dict.fromkeys(check.exercise for check in self.checks))


def lessons() -> list[Lesson]:
    """Return every lesson of the course."""
    return [_lesson(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(DATA.glob("*.json"))]


def fingerprint(source: str) -> str:
    """Return what a cell is known by; spaces at the ends of lines, which editors change, do not count."""
    lines = [line.rstrip() for line in source.strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _lesson(about: dict) -> Lesson:
    checks = tuple(
        CheckCell(name, exercise, check["points"], check["source"])
        for exercise, parts in about["exercises"].items()
        for name, check in parts["checks"].items()
    )
    return Lesson(about["slug"], about["title"], checks)
