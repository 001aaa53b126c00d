"""A plan of one exercise on plain CPU tensors, and a way to judge an answer to it in this process."""

from __future__ import annotations

import pytest

from autograder.judge.plan import Answer, Check, Given, Plan, Trial
from autograder.judge.session import Session
from tests.judge.attacks import WORLD

SETUP = "import torch\n"
CHECK = """
def verdict(size):
    found = answer(torch.ones(size))
    assert total(torch.ones(size)) == 2.0 * size, "the instructor's helper was changed"
    assert found == 2.0 * size, f"wrong results: {found}"

verdict(4)
2
"""
RIGHT = "def answer(x):\n    return total(x)\n"


def make_plan(check: str = CHECK, points: float = 2.0) -> Plan:
    return Plan(
        given=(Given("setup", SETUP, setup=True), Given("given-world", WORLD)),
        checks=(Check("check-answer", "answer", points, check, ("answer",)),),
    )


@pytest.fixture(scope="session")
def session():
    """One session for all trials: what a trial breaks must be mended before the next."""
    return Session(make_plan())


@pytest.fixture
def judged(session):
    """Judge one answer, with other cells of the learner's before it."""

    def judge(source: str, *before: str):
        cells = [Answer(f"cell {number}", text) for number, text in enumerate(before, start=1)]
        trial = Trial("test", (*cells, Answer("your answer to answer", source, "answer")))
        (verdict,) = session.run(trial)
        return verdict

    return judge
