"""A check's source reaches the judge's process in its turn, once, and from the parent only."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from autograder.judge.launching import launch
from autograder.judge.plan import Answer, Check, Trial
from autograder.judge.process import Limits, _Child, _Progress, judge
from autograder.judge.sending import GONE, Outbox
from tests.judge.conftest import CHECK, RIGHT, make_plan


@pytest.fixture
def pipe():
    """Two descriptors, closed at the end."""
    ends = os.pipe()
    yield ends
    for descriptor in ends:
        os.close(descriptor)


ASKS = """
import os, sys
from autograder.judge.sending import open_line
pipe, checks = map(int, sys.argv[1:3])
line = open_line(pipe, checks, sys.argv[3])
exec(sys.argv[6])
print(len(line.ask(*sys.argv[4:6])))
"""


def asking(pipe, *asked: str, first: str = "") -> subprocess.Popen:
    """Start a process that asks for a check and prints its length, after it ran ``first``."""
    command = [sys.executable, "-c", ASKS, str(pipe[1]), str(pipe[0]), *asked, first]
    return subprocess.Popen(command, pass_fds=pipe, stdout=subprocess.PIPE, text=True)


def test_sending_waits_for_nobody(pipe):
    """GIVEN a source longer than a pipe holds and a reader that is late, THEN it arrives whole all the same."""
    source = "x = 1\n" * 30_000
    outbox = Outbox(pipe[1], "secret")
    outbox.put(0, "check-a", source)
    assert not outbox.is_empty
    process = asking(pipe, "secret", "0", "check-a")
    os.set_blocking(pipe[1], True)
    outbox.flush()
    assert process.communicate() == (f"{len(source)}\n", None)


@pytest.mark.parametrize("asked", [("other", "0", "check-a"), ("secret", "1", "check-a"), ("secret", "0", "check-b")])
def test_a_message_for_someone_else_is_not_taken(pipe, asked):
    """GIVEN a source made with another secret, for another trial or check, THEN the process ends."""
    Outbox(pipe[1], "secret").put(0, "check-a", "2")
    process = asking(pipe, *asked)
    assert process.communicate()[0] == ""
    assert process.returncode == GONE


def test_a_replaced_pipe_ends_the_process(pipe):
    """GIVEN another pipe put over the one that checks come by, THEN nothing is read from it."""
    process = asking(pipe, "secret", "0", "check-a", first="os.dup2(os.pipe()[0], checks)")
    assert process.communicate()[0] == ""
    assert process.returncode == GONE


def test_checks_are_not_known_at_the_start():
    """GIVEN what the child is told before the answers run, THEN no check's source is in it, nor is it sent early."""
    child = _Child(
        dataclasses.replace(make_plan(), trials=(Trial("t", ()),)), None, Limits(), 0.0, _Progress(verdicts=[{}]), None
    )
    sent = []
    child._outbox = type("Box", (), {"put": lambda self, trial, grade_id, source: sent.append(source)})()
    assert b"wrong results" not in child._request(3, 4)

    def hear(*said: str) -> bool:
        return child._hear(f"{child._nonce} {json.dumps(said)}".encode())

    assert not hear("ask", "0", "check-answer"), "it is not under way"
    assert hear("stage", "0", "check", "check-answer")
    assert hear("ask", "0", "check-answer")
    assert not hear("ask", "0", "check-answer"), "it was sent before"
    assert sent == [CHECK]


LOOKS_FOR_CHECKS = """
import json, os, select, sys
def everything():
    seen = [repr(vars(module)) for name, module in list(sys.modules.items()) if name.startswith('autograder.judge')]
    seen += [''.join(entry[2]) for entry in sys.modules['linecache'].cache.values() if len(entry) > 2]
    for fd in range(3, 64):
        try:
            if select.select([fd], [], [], 0)[0]: seen.append(os.read(fd, 100_000).decode(errors='replace'))
        except OSError: pass
    return ''.join(seen)
early = everything()
def answer(x):
    return total(x)
def other():
    return [early, everything()]
"""


def test_no_check_can_be_read_before_its_turn_or_after():
    """GIVEN an answer that reads what it can reach, THEN it finds neither the next check nor the one that has run."""
    look = (
        "first, second = other()\nfor seen in (first, second):\n    assert 'HIDDEN' + '-7f3' not in seen, seen[:200]\n1"
    )
    other = Check("check-other", "other", 1.0, f"# HIDDEN-7f3\n{look}", ("other",))
    plan = make_plan(check=f"# HIDDEN-7f3\n{CHECK}")
    trial = Trial("t", (Answer("your answer to answer", LOOKS_FOR_CHECKS, "answer"),))
    (verdicts,) = judge(dataclasses.replace(plan, checks=(*plan.checks, other), trials=(trial,)))
    assert {name: verdict.score for name, verdict in verdicts.items()} == {"check-answer": 2, "check-other": 1}, (
        verdicts
    )


def test_a_launcher_of_ones_own_starts_the_process():
    """GIVEN a launcher, THEN it gets the request and both descriptors, and what it returns is waited for and ended."""
    seen = []

    def recording(request: bytes, fds: tuple[int, ...]):
        seen.append((json.loads(request), fds, launch(request, fds)))
        return seen[-1][-1]

    trial = Trial("t", (Answer("your answer to answer", RIGHT, "answer"),))
    (verdicts,) = judge(dataclasses.replace(make_plan(), trials=(trial,)), launch=recording)
    ((request, fds, process),) = seen
    assert verdicts["check-answer"].score == 2
    assert (request["pipe"], request["checks"]) == fds
    assert process.poll() is not None
