"""The judge's process: death, silence and noise are results with a reason, and the rest is still judged."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap
import time

import pytest

from autograder.judge.plan import Answer, Check, Given, Trial
from autograder.judge.process import NOT_JUDGED, Limits, _Child, _Progress, judge
from autograder.judge.strays import MARK, end_strays
from tests.judge.attacks import WRONG
from tests.judge.conftest import RIGHT, make_plan

TO_THE_PIPE = """
import os, stat
for fd in range(3, 64):
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode): os.write(fd, {data})
    except OSError: pass
"""
DAEMON = """
import pydoc
pydoc.tempfilepager('', "setsid sleep 600 & echo $! > {pid_file}; true")
"""
"""A process in a session of its own, by a library that may start processes."""
FORK = """
import os, time
if os.fork() == 0:
    time.sleep(600)
    os._exit(0)
"""
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
    "writes deeply nested lists": RIGHT + TO_THE_PIPE.format(data="b'[' * 60_000 + b'\\n'"),
    "writes a message without an end": RIGHT + TO_THE_PIPE.format(data="b'x' * 5_000_000"),
    "writes for ever": "while True:\n" + textwrap.indent(TO_THE_PIPE.format(data="b'\\n' * 60_000"), "    "),
    "closes the pipe and waits": "import os\nos.closerange(3, 64)\nwhile True: pass\n",
    "leaves a daemon behind": RIGHT + DAEMON.format(pid_file="/dev/null"),
    "leaves a daemon behind and dies": DAEMON.format(pid_file="/dev/null") + "import os\nos._exit(5)\n",
    "forks": RIGHT + FORK,
    "goes on as two": "import os\ndef answer(x):\n    os.fork()\n    return total(x)\n",
    "raises a very long message": "def answer(x):\n    raise ValueError('y' * 20_000_000)\n",
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
        ("writes deeply nested lists", 2, ""),
        ("writes a message without an end", 2, ""),
        ("writes for ever", 0, "took too long: stopped after 3 s"),
        ("closes the pipe and waits", 0, "took too long: stopped after 3 s"),
        ("leaves a daemon behind", 2, ""),
        ("leaves a daemon behind and dies", 0, "exit status 5"),
        ("forks", 0, "tampered: the answer started or replaced a process (os.fork), line 5: `if os.fork() == 0:`"),
        ("goes on as two", 0, "(os.fork)"),
        ("raises a very long message", 0, "ValueError: yyy"),
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


def test_a_daemon_does_not_outlive_the_judge(tmp_path):
    """GIVEN an answer that leaves a process in a session of its own, THEN that process is gone after the verdict."""
    pid_file = tmp_path / "pid"
    trial = Trial("t", (Answer("a", RIGHT + DAEMON.format(pid_file=pid_file), "answer"),))
    (verdicts,) = judge(dataclasses.replace(make_plan(), trials=(trial,)))
    assert verdicts["check-answer"].score == 2
    deadline = time.monotonic() + 30
    while _runs(int(pid_file.read_text())):
        assert time.monotonic() < deadline, "it still runs"


def test_strays_are_known_by_their_mark():
    """GIVEN two sleeping processes, WHEN strays of one mark are ended, THEN the other sleeps on."""
    ours, other = (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={MARK: mark})
        for mark in ("ours", "other")
    )
    try:
        end_strays("ours")
        assert ours.wait(timeout=10) < 0
        assert other.poll() is None
    finally:
        other.kill()
        for process in (ours, other):
            process.communicate()


def _runs(pid: int) -> bool:
    """Is there such a process, other than a dead one that nobody has fetched yet?"""
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_forged_report_is_taken_only_where_it_can_come():
    """GIVEN someone who holds the reporter's nonce, THEN verdicts out of turn, twice or for too much do not count."""
    plan = dataclasses.replace(make_plan(), trials=(Trial("t", ()), Trial("u", ())))
    progress = _Progress(verdicts=[{}, {}])
    child = _Child(plan, None, Limits(), 0.0, progress, lambda number, verdicts: None)

    def hear(*said: str) -> bool:
        return child._hear(f"{child._nonce} {json.dumps(said)}".encode())

    verdict = ("check-answer", "99", "")
    assert not hear("verdict", "0", *verdict), "no check is under way"
    assert not hear("end"), "nothing has been judged"
    assert hear("stage", "0", "check", "check-answer")
    assert not hear("verdict", "1", *verdict), "another trial is under way"
    assert not child._hear(f"guess {json.dumps(['verdict', '0', *verdict])}".encode()), "the secret is wrong"
    assert hear("verdict", "0", *verdict)
    assert not hear("verdict", "0", "check-answer", "1", ""), "it was said before"
    assert progress.verdicts[0]["check-answer"].score == 2


def test_a_part_of_the_points_comes_with_what_the_check_printed():
    """GIVEN a check that prints why it gives less WHEN the answer prints as well THEN the reason is the check's."""
    check = "answer(torch.ones(4))\nprint('1 of 2 points: flat, but', 'not the same')\nanswer(torch.ones(4))\n1\n"
    boast = "def answer(x):\n    print('2 of 2 points: all of it')\n    return total(x)\n"
    trials = tuple(Trial(text, (Answer("your answer to answer", text, "answer"),)) for text in (boast, RIGHT))
    silent = dataclasses.replace(make_plan("answer(torch.ones(4))\n1\n"), trials=trials[:1])
    for plan, reason in ((make_plan(check), "1 of 2 points: flat, but not the same"), (silent, "1 of 2 points")):
        for verdicts in judge(plan if plan.trials else dataclasses.replace(plan, trials=trials)):
            verdict = verdicts["check-answer"]
            assert (verdict.score, verdict.reason) == (1.0, reason)
