"""The judge's own process: reads a plan without the checks, asks for each check in its turn, says the verdicts.

Started by ``launching.py`` in a fresh interpreter, or forked from a warm one by another launcher; a submission's folder
is not importable before the seal is taken.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from autograder.judge.eyes import ASK, SAY, Eyes, open_eyes
from autograder.judge.plan import Check, Plan
from autograder.judge.printed import Printed
from autograder.judge.sending import open_line
from autograder.judge.session import LessonBroken, Session
from autograder.judge.verdict import Verdict

MOST_CHARACTERS = 10_000
"""Of a reason or a note."""


def main(fds: tuple[int, int] | None = None) -> None:
    """Run one request from standard input.

    Parameters
    ----------
    fds : tuple of int, optional
        Where the two descriptors are open, if not under the numbers that the request names: the one that verdicts
        are written to, and the one that checks are read from.
    """
    request = json.loads(sys.stdin.buffer.read())
    _silence()
    pipe, checks = fds or (request["pipe"], request["checks"])
    for descriptor in (pipe, checks):
        os.set_inheritable(descriptor, False)
    voice = _Voice()
    eyes = open_eyes(open_line(pipe, checks, request.pop("nonce")), voice.chains())
    try:
        _judge(request, voice, eyes)
    except LessonBroken as error:
        voice.say("broken", str(error))
    except Exception as error:  # noqa: BLE001 - the parent must hear of it, and there is no stderr
        last = traceback.extract_tb(error.__traceback__)[-1]
        voice.say("broken", f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})")
    voice.say("end")


def _judge(request: dict, voice: _Voice, eyes: Eyes) -> None:
    plan = Plan.from_json(request["plan"])
    first, folder = request["first"], request["folder"]
    sys.stdout = printed = Printed()
    session = Session(plan, voice.stage, voice.source_of, eyes, voice.spoilt, printed)
    if folder:
        os.chdir(folder)
        sys.path.append(folder)
    for number, trial in enumerate(plan.trials[first:], start=first):
        voice.trial = str(number)
        resumed = number == first
        done = frozenset(request["done"]) if resumed else frozenset()
        skip = {int(index): why for index, why in request["skip"].items()} if resumed else {}
        for verdict in session.run(trial, done, skip):
            voice.say("verdict", voice.trial, *_to_send(verdict))
        voice.say("trial", voice.trial)


class _Voice:
    """Speaks to the parent through the audit hook, which alone has the pipes, and heeds only the callers in ``chains``."""

    def __init__(self) -> None:
        self.trial = "0"
        self._audit, self._leave = sys.audit, os._exit

    @staticmethod
    def chains() -> tuple:
        """Return who may speak, and by whom it must have been called."""
        code = _Voice.say.__code__, _Voice.stage.__code__, _Voice.source_of.__code__, _Voice.spoilt.__code__
        return (
            (code[0], main.__code__),
            (code[0], _judge.__code__),
            (code[1], Session.run.__code__),
            (code[2], Session.run_check.__code__),
            (code[3], Session.run.__code__),
        )

    def say(self, *texts: str) -> None:
        """Say what has happened."""
        self._audit(SAY, *texts)

    def stage(self, kind: str, which: object) -> None:
        """Say what begins now."""
        self._audit(SAY, "stage", self.trial, kind, f"{which}")

    def spoilt(self, why: str) -> None:
        """End this process, so that what is left to judge is judged in a fresh one."""
        self._audit(SAY, "spoilt", self.trial, why)
        self._leave(0)

    def source_of(self, check: Check) -> str:
        """Return the source of the check under way, which the parent sends only now."""
        box: list[str] = []
        self._audit(SAY, "ask", self.trial, check.grade_id)
        self._audit(ASK, box, self.trial, check.grade_id)
        return box.pop()


def _to_send(verdict: Verdict) -> list[str]:
    """A verdict as texts; an exception's message may be of any length."""
    texts = verdict.reason, *verdict.notes
    return [verdict.grade_id, repr(verdict.score), *(text[:MOST_CHARACTERS] for text in texts)]


def _silence() -> None:
    """Send what learners print nowhere; an answer that prints for ever fills no disk."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
