"""Verdicts: what an answer is worth, and what the learner is told."""

from __future__ import annotations

import math

import pytest

from autograder.judge.plan import Answer, Trial
from autograder.judge.session import LessonBroken, Session
from autograder.judge.verdict import score_of
from tests.judge.attacks import WRONG
from tests.judge.conftest import RIGHT, make_plan


def test_a_right_answer_gets_all_points(judged):
    """Is a right answer worth its points, with nothing to say?"""
    verdict = judged(RIGHT)
    assert (verdict.score, verdict.message) == (2.0, "")


def test_a_wrong_answer_gets_none(judged):
    """Is a wrong answer worth nothing, with the check's own words?"""
    verdict = judged(WRONG)
    assert verdict.score == 0
    assert "wrong results: 0.0" in verdict.reason


def test_a_stub_is_not_implemented(judged):
    """Does an untouched stub read "not implemented", and name its line?"""
    verdict = judged("def answer(x):\n    raise NotImplementedError()\n")
    assert verdict.reason.startswith("not implemented")
    assert "your answer to answer, line 2" in verdict.reason


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise NotImplementedError()", "not implemented"),
        ("def answer(x: return", "SyntaxError"),
        ("def other(x):\n    return 1\n", "keep the names"),
        ("raise SystemExit", "SystemExit"),
    ],
)
def test_a_cell_that_defines_nothing_says_why(judged, source, said):
    """GIVEN a cell that leaves the name undefined, THEN the reason is what stopped the cell."""
    verdict = judged(source)
    assert verdict.score == 0
    assert "not defined: the check needs `answer`" in verdict.reason
    assert said in verdict.reason


def test_an_error_in_another_cell_costs_nothing(judged):
    """Does a broken experiment elsewhere in the notebook leave the answer alone?"""
    assert judged(RIGHT, "1 / 0", "raise SystemExit").score == 2


def test_an_answer_may_use_the_learners_own_cells(judged):
    """May the answer call a helper from a cell that the learner added?"""
    verdict = judged("def answer(x):\n    return twice(x)\n", "def twice(x):\n    return float(2 * x.sum())\n")
    assert verdict.score == 2


def test_a_redefined_helper_does_not_reach_the_check(judged):
    """GIVEN helpers redefined beside a wrong answer, THEN the check still uses its own."""
    verdict = judged(WRONG + "def total(x):\n    return 0.0\nScale = None\n")
    assert "wrong results" in verdict.reason


def test_classes_are_the_same_on_both_sides(judged):
    """Does isinstance() hold for what the check passes in?"""
    source = "def answer(x):\n    return total(x) if isinstance(Scale(), Scale) else -1\n"
    assert judged(source).score == 2


@pytest.mark.parametrize(
    ("value", "score"),
    [(1, 1.0), (1.5, 1.5), (7, 2.0), (-3, 0.0), (None, 2.0), (True, 2.0), ("2", 2.0), (math.nan, 0.0), (math.inf, 2.0)],
)
def test_only_plain_numbers_are_partial_credit(value, score):
    """What does the last expression of a check come to, out of 2?"""
    assert score_of(value, 2.0) == score


def test_partial_credit_is_explained():
    """Does a score between nothing and all come with words?"""
    session = Session(make_plan(check="answer\n1.5"))
    (verdict,) = session.run(Trial("t", (Answer("a", RIGHT, "answer"),)))
    assert (verdict.score, verdict.reason) == (1.5, "1.5 of 2 points")


def test_a_broken_lesson_is_not_the_learners_fault():
    """GIVEN an instructor's cell that fails, THEN it is LessonBroken and names the cell."""
    plan = make_plan()
    broken = type(plan)((*plan.given, type(plan.given[0])("given-extra", "1 / 0")), plan.checks)
    with pytest.raises(LessonBroken, match="given-extra.*ZeroDivisionError"):
        list(Session(broken).run(Trial("t", (Answer("a", RIGHT, "answer"),))))
