"""The judge's own process: reads a plan, writes verdicts to a pipe that only its parent reads.

Started as ``python -I -c`` by ``process.py``; a submission's folder is not importable before the seal is taken.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable

from autograder.judge.plan import Plan
from autograder.judge.session import LessonBroken, Session
from autograder.judge.verdict import Verdict

MOST_CHARACTERS = 10_000
"""Of a reason or a note."""


def main() -> None:
    """Run one request: ``{"nonce", "pipe", "folder", "plan", "first", "done", "skip"}`` from standard input."""
    request = json.loads(sys.stdin.read())
    os.set_inheritable(request["pipe"], False)
    _silence()
    report = _reporter(request.pop("pipe"), request.pop("nonce"))
    try:
        _judge(request, report)
    except LessonBroken as error:
        report("broken", reason=str(error))
    except Exception as error:  # noqa: BLE001 - the parent must hear of it, and there is no stderr
        last = traceback.extract_tb(error.__traceback__)[-1]
        report("broken", reason=f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})")
    report("end")


def _judge(request: dict, report) -> None:
    plan = Plan.from_json(request["plan"])
    first, folder = request["first"], request["folder"]
    position = {"trial": first}
    session = Session(plan, lambda kind, which: report("stage", trial=position["trial"], kind=kind, which=which))
    if folder:
        os.chdir(folder)
        sys.path.append(folder)
    for number, trial in enumerate(plan.trials[first:], start=first):
        position["trial"] = number
        resumed = number == first
        done = frozenset(request["done"]) if resumed else frozenset()
        skip = {int(index): why for index, why in request["skip"].items()} if resumed else {}
        for verdict in session.run(trial, done, skip):
            report("verdict", trial=number, verdict=_to_send(verdict))
        report("trial", trial=number)


def _reporter(pipe: int, nonce: str) -> Callable[..., None]:
    """Return what writes one JSON line per event, marked with the nonce. A forked copy of this process has no pipe."""
    held = [pipe]
    os.register_at_fork(after_in_child=lambda: os.close(held.pop()) if held else None)

    def report(event: str, **about) -> None:
        line = json.dumps({"nonce": nonce, "event": event, **about}, default=str)
        data = f"\n{line}\n".encode()
        while data:
            data = data[os.write(held[0], data) :]

    return report


def _to_send(verdict: Verdict) -> dict:
    """A verdict as plain data; an exception's message may be of any length."""
    notes = [note[:MOST_CHARACTERS] for note in verdict.notes]
    return {**vars(verdict), "reason": verdict.reason[:MOST_CHARACTERS], "notes": notes}


def _silence() -> None:
    """Send what learners print nowhere; an answer that prints for ever fills no disk."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
