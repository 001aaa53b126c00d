"""Is an answer, a hidden test or a fixture readable in what learners get?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from autograder.authoring.lesson import FIXTURES, Lesson

_REGION = re.compile(r"^[^\n]*### BEGIN (SOLUTION|HIDDEN TESTS).*?### END \1[^\n]*\n?", re.DOTALL | re.MULTILINE)
_MARKERS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
_SHORTEST = 12
"""Shorter lines, such as ``return total``, say nothing by themselves."""


def leaked(lesson: Lesson, path: Path) -> list[str]:
    """Return the secret lines of a lesson that a published file shows, and any of nbgrader's markers."""
    shown = list(_strings(json.loads(path.read_text(encoding="utf-8"))))
    text = "\n".join(shown)
    lines = {line.strip() for string in shown for line in string.split("\n")}
    return [marker for marker in _MARKERS if marker in text] + sorted(secret_lines(lesson) & lines)


def secret_lines(lesson: Lesson) -> set[str]:
    """Return the lines of answers, hidden tests and fixtures that the lesson does not show anywhere itself."""
    secret, shown = [], []
    for cell in lesson.cells:
        if cell.kind in FIXTURES:
            secret.append(cell.source)
        else:
            secret += [match.group() for match in _REGION.finditer(cell.source)]
            shown.append(_REGION.sub("", cell.source))
    return {line for line in _lines(secret) - _lines(shown) if len(line) >= _SHORTEST}


def _lines(sources: list[str]) -> set[str]:
    return {line.strip() for source in sources for line in source.split("\n")}


def _strings(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        if value and all(isinstance(inner, str) for inner in value):
            yield "".join(value)
        for inner in value:
            yield from _strings(inner)
