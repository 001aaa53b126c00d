"""Lessons read where neither jupytext nor nbformat is at hand: notebooks, and the fixtures of a lesson's file.

``tests/benchmarks/test_on_gpu.py`` compares with what ``autograder.authoring`` reads.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.judge.plan import Answer, Plan, Trial, answers_in, lesson_plan
from autograder.judge.source import strip_magics

ROOT = Path(__file__).resolve().parents[2]
_OPTION = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Node(dict):
    """A dict whose keys are attributes, as nbformat's notebooks have."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Fixture:
    """An answer that must pass ("right") or fail ("wrong")."""

    kind: str
    exercise: str
    name: str
    source: str


def read_notebook(folder: str, lesson: str) -> Node:
    """A lesson's notebook in "solutions" or "notebooks", with every cell's source as one text."""
    path = ROOT / folder / lesson / f"{lesson}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"), object_hook=Node)
    for cell in notebook.cells:
        cell["source"] = "".join(cell.source)
    return notebook


def fixtures(lesson: str) -> list[Fixture]:
    """The right and wrong answers of a lesson, in the author's order."""
    text = (ROOT / "lessons" / f"{lesson}.py").read_text(encoding="utf-8")
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    found = []
    for header, source in zip(parts[1::2], parts[2::2], strict=True):
        options = {key: value.replace('\\"', '"') for key, value in _OPTION.findall(header)}
        found += [
            Fixture(kind, options[kind], options["name"], source.strip("\n"))
            for kind in ("right", "wrong")
            if kind in options
        ]
    return found


def first_wrong(lesson: str) -> dict[str, str]:
    """Exercise to the first answer that must fail: the leak left as it is, where it is a leak."""
    found: dict[str, str] = {}
    for fixture in fixtures(lesson):
        if fixture.kind == "wrong":
            found.setdefault(fixture.exercise, fixture.source)
    return found


def plan(lesson: str) -> Plan:
    """The judge's plan with a trial for the answers, each stub and each fixture, named as ``make check`` names them."""
    solution, released = read_notebook("solutions", lesson), read_notebook("notebooks", lesson)
    answers = answers_in(solution, solution)
    stubs = {answer.exercise: answer for answer in answers_in(released, solution) if answer.exercise}
    trials = [Trial("answers", answers)]
    for slug, stub in stubs.items():
        trials.append(Trial(f"stub of {slug}", _with(answers, slug, stub.source), only=slug))
        own = [fixture for fixture in fixtures(lesson) if fixture.exercise == slug]
        for fixture in sorted(own, key=lambda fixture: fixture.kind):
            label = f"{fixture.kind} answer to {slug}: {fixture.name}"
            trials.append(Trial(label, _with(answers, slug, strip_magics(fixture.source)), only=slug))
    return replace(lesson_plan(solution), trials=tuple(trials))


def _with(answers: tuple[Answer, ...], slug: str, source: str) -> tuple[Answer, ...]:
    return tuple(replace(answer, source=source) if answer.exercise == slug else answer for answer in answers)
