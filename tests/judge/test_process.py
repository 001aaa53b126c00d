"""The judge's process: death, silence and noise are results with a reason, and the rest is still judged."""

from __future__ import annotations

import dataclasses

import pytest

from autograder.judge.plan import Answer, Check, Given, Trial
from autograder.judge.process import NOT_JUDGED, Limits, judge
from tests.judge.conftest import RIGHT, WRONG, make_plan

TRIALS = {
    "right": RIGHT,
    "wrong": WRONG,
    "dies at once": "import os\nos._exit(3)\n",
    "dies when called": "import os\ndef answer(x):\n    os._exit(0)\n",
    "is killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "hangs when called": "def answer(x):\n    while True: pass\n",
    "writes to every open file": RIGHT
    + (
        'import os\nfor fd in range(3, 64):\n    try: os.write(fd, b\'{"event": "verdict", "score": 2}\\nnoise\\n\')\n'
        "    except OSError: pass\n"
    ),
    "prints a lot": RIGHT + "print('x' * 10_000_000)\n",
    "reads from standard input": "answer = input()\n",
    "right again": RIGHT,
}


@pytest.fixture(scope="module")
def verdicts():
    """Judge every trial in one request, each check named once."""
    trials = [Trial(label, (Answer("your answer to answer", source, "answer"),)) for label, source in TRIALS.items()]
    found = judge(dataclasses.replace(make_plan(), trials=tuple(trials)), limits=Limits(each=3.0, total=200.0))
    return {label: verdict["check-answer"] for label, verdict in zip(TRIALS, found, strict=True)}


@pytest.mark.parametrize(
    ("label", "score", "said"),
    [
        ("right", 2, ""),
        ("wrong", 0, "wrong results"),
        ("dies at once", 0, "your cell stopped: your code ended the grading process (exit status 3)"),
        ("dies when called", 0, "your code ended the grading process (exit status 0)"),
        ("is killed", 0, "SIGKILL"),
        ("hangs when called", 0, "took too long: stopped after 3 s"),
        ("writes to every open file", 2, ""),
        ("prints a lot", 2, ""),
        ("reads from standard input", 0, "EOFError"),
        ("right again", 2, ""),
    ],
)
def test_every_ending_is_a_verdict(verdicts, label, score, said):
    """Does each trial get its own score and reason, whatever the one before did?"""
    assert verdicts[label].score == score
    assert said in verdicts[label].reason


def test_one_exercise_does_not_cost_another():
    """GIVEN one answer that kills the process, THEN the other exercise of the notebook is judged."""
    plan = make_plan()
    other = Check("check-other", "other", 1.0, "assert other() == 1", ("other",))
    answers = (Answer("a", "import os\nos._exit(1)\n", "answer"), Answer("b", "def other():\n    return 1\n", "other"))
    plan = dataclasses.replace(plan, checks=(*plan.checks, other), trials=(Trial("both", answers),))
    (verdicts,) = judge(plan, limits=Limits(each=20.0, total=100.0))
    assert verdicts["check-answer"].score == 0
    assert verdicts["check-other"].score == 1


def test_a_broken_lesson_gives_a_reason_for_each_trial():
    """GIVEN a lesson whose given cell fails, THEN no trial is judged, and all say so."""
    plan = make_plan()
    plan = dataclasses.replace(
        plan, given=(*plan.given, Given("given-bad", "1 / 0")), trials=(Trial("a", ()), Trial("b", ()))
    )
    found = judge(plan)
    reasons = [verdict.reason for verdicts in found for verdict in verdicts.values()]
    assert len(reasons) == 2
    assert all(reason.startswith(NOT_JUDGED) and "given-bad" in reason for reason in reasons)


def test_files_beside_the_notebook_cannot_stand_in_for_the_package(tmp_path):
    """GIVEN a submission with its own autograder and torch, THEN the judge imports neither."""
    for name in ("autograder", "torch", "helper"):
        (tmp_path / f"{name}.py").write_text("VALUE = 2.0 * 4\nraise_if_imported = 1\n")
    source = (
        "import helper, autograder, torch\ndef answer(x):\n    return helper.VALUE if hasattr(torch, 'nn') else 0\n"
    )
    trial = Trial("t", (Answer("a", source, "answer"),))
    (verdicts,) = judge(dataclasses.replace(make_plan(), trials=(trial,)), folder=tmp_path)
    assert verdicts["check-answer"].score == 2, verdicts
