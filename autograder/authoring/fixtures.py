"""Stubs, answers and fixtures of a lesson, as trials for the judge, and what each must come to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nbformat import NotebookNode

from autograder.authoring.lesson import Cell, Lesson
from autograder.judge.plan import Answer, Plan, Trial, answers_in, lesson_plan
from autograder.judge.source import strip_magics
from autograder.judge.verdict import Verdict


@dataclass(frozen=True)
class Expectation:
    """One trial and what is expected of it: ``pass``, or a failure that contains ``phrase``."""

    trial: Trial
    passes: bool
    phrase: str = ""

    def complaint(self, verdicts: dict[str, Verdict]) -> str:
        """Return what is wrong with the verdicts; empty if they are as expected."""
        if not verdicts:
            return "was not judged"
        failed = [verdict for verdict in verdicts.values() if not verdict.passed]
        if self.passes:
            return "; ".join(f"{v.grade_id} gives {v.score:g} of {v.points:g}: {v.message}" for v in failed)
        if not failed:
            return "passes, and must not"
        messages = "\n".join(verdict.message for verdict in failed)
        if self.phrase not in messages:
            return f"fails with another message: expected {self.phrase!r}, found: {messages}"
        return ""


def expectations(lesson: Lesson, solution: NotebookNode, released: NotebookNode) -> tuple[Plan, list[Expectation]]:
    """Return the judge's plan of a lesson with one trial for each thing to prove."""
    answers = answers_in(solution, solution)
    found = [Expectation(Trial("answers", answers), passes=True)]
    stubs = {answer.exercise: answer for answer in answers_in(released, solution) if answer.exercise}
    for slug, exercise in lesson.exercises.items():
        stub = _with(answers, slug, stubs[slug].source)
        found.append(Expectation(Trial(f"stub of {slug}", stub, only=slug), passes=False, phrase="not implemented"))
        for cell in (*exercise.right, *exercise.wrong):
            trial = Trial(_label(cell), _with(answers, slug, strip_magics(cell.source)), only=slug)
            found.append(Expectation(trial, passes=cell.kind == "right", phrase=cell.options.get("expects", "")))
    plan = replace(lesson_plan(solution), trials=tuple(expectation.trial for expectation in found))
    return plan, found


def _with(answers: tuple[Answer, ...], slug: str, source: str) -> tuple[Answer, ...]:
    return tuple(replace(answer, source=source) if answer.exercise == slug else answer for answer in answers)


def _label(cell: Cell) -> str:
    return f"{cell.kind} answer to {cell.slug}: {cell.name}"
