"""No wrong answer gets a point by a trick, the reason says which trick, and the other exercise keeps its own score."""

from __future__ import annotations

import dataclasses

import pytest

from autograder.judge.process import Limits, judge
from tests.judge.attacks import small_plan
from tests.judge.attacks.tables import ATTACKS


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Judge every attack in one request; all files that any of them brings lie beside the notebook."""
    folder = tmp_path_factory.mktemp("submission")
    for attack in ATTACKS.values():
        for name, text in attack.files.items():
            (folder / name).write_text(text)
    trials = tuple(attack.trial(label) for label, attack in ATTACKS.items())
    plan = dataclasses.replace(small_plan(), trials=trials)
    found = judge(plan, folder, limits=Limits(each=20.0, total=300.0))
    return dict(zip(ATTACKS, found, strict=True))


@pytest.mark.parametrize("label", ATTACKS)
def test_an_attack_gets_nothing_and_says_why(verdicts, label):
    """GIVEN a wrong answer with a trick, THEN 0 points with a clear reason."""
    verdict = verdicts[label]["check-answer"]
    assert verdict.score == 0, "it got points"
    assert ATTACKS[label].said in verdict.reason


@pytest.mark.parametrize("label", ATTACKS)
def test_the_other_exercise_keeps_its_score(verdicts, label):
    """GIVEN a trick in one exercise, THEN the right answer to the other one is worth its points."""
    verdict = verdicts[label]["check-other"]
    assert (verdict.score, verdict.reason) == (1.0, "")
