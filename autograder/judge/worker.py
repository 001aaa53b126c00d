"""The judge's own process: reads a plan without the checks, asks for each check in its turn, writes verdicts.

Started by ``launching.py`` in a fresh interpreter, or forked from a warm one by another launcher; a submission's folder
is not importable before the seal is taken.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from autograder.judge.plan import Plan
from autograder.judge.sending import receive
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
    line = _Line(pipe, checks, request.pop("nonce"))
    try:
        _judge(request, line)
    except LessonBroken as error:
        line.report("broken", reason=str(error))
    except Exception as error:  # noqa: BLE001 - the parent must hear of it, and there is no stderr
        last = traceback.extract_tb(error.__traceback__)[-1]
        line.report("broken", reason=f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})")
    line.report("end")


def _judge(request: dict, line: _Line) -> None:
    plan = Plan.from_json(request["plan"])
    first, folder = request["first"], request["folder"]
    position = {"trial": first}
    session = Session(
        plan,
        lambda kind, which: line.report("stage", trial=position["trial"], kind=kind, which=which),
        lambda check: line.ask(position["trial"], check.grade_id),
    )
    if folder:
        os.chdir(folder)
        sys.path.append(folder)
    for number, trial in enumerate(plan.trials[first:], start=first):
        position["trial"] = number
        resumed = number == first
        done = frozenset(request["done"]) if resumed else frozenset()
        skip = {int(index): why for index, why in request["skip"].items()} if resumed else {}
        for verdict in session.run(trial, done, skip):
            line.report("verdict", trial=number, verdict=_to_send(verdict))
        line.report("trial", trial=number)


class _Line:
    """The two pipes to the parent. A forked copy of this process has neither."""

    def __init__(self, pipe: int, checks: int, nonce: str) -> None:
        self._pipe, self._checks, self._nonce = pipe, checks, nonce
        self._held = [pipe, checks]
        os.register_at_fork(after_in_child=lambda: [os.close(self._held.pop()) for _ in self._held[:]])

    def report(self, event: str, **about) -> None:
        """Write one JSON line, marked with the nonce."""
        line = json.dumps({"nonce": self._nonce, "event": event, **about}, default=str)
        data = f"\n{line}\n".encode()
        while data:
            data = data[os.write(self._pipe, data) :]

    def ask(self, trial: int, grade_id: str) -> str:
        """Return the source of the check under way, which the parent sends only now."""
        self.report("ask", trial=trial, which=grade_id)
        source = receive(self._checks, self._nonce, trial, grade_id)
        if source is None:
            raise OSError("the checks' pipe brought something else")
        return source


def _to_send(verdict: Verdict) -> dict:
    """A verdict as plain data; an exception's message may be of any length."""
    notes = [note[:MOST_CHARACTERS] for note in verdict.notes]
    return {**vars(verdict), "reason": verdict.reason[:MOST_CHARACTERS], "notes": notes}


def _silence() -> None:
    """Send what learners print nowhere; an answer that prints for ever fills no disk."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
