"""Judges a plan in a fresh process that may hang, die or be killed, and still returns a verdict for every check.

The child says over a private pipe what it is about to do. If it falls silent for longer than the limit, or ends,
the part that it was busy with is blamed, and a new child goes on with the rest.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from autograder.judge.launching import Launched, launch
from autograder.judge.listening import Lines
from autograder.judge.plan import Check, Plan
from autograder.judge.sending import GONE, Outbox
from autograder.judge.verdict import Verdict, score_of, spied

NOT_JUDGED = "the grader could not judge this"
"""Begins the reason where the fault is the lesson's or the grader's, not the answer's."""

_START_UP_SECONDS = 120.0
"""Patience for imports and for the instructor's own cells."""

_GLANCE_SECONDS = 0.5
"""How often to see whether the child still lives: what it started may hold the pipe open after its end."""


@dataclass(frozen=True)
class Limits:
    """Seconds: for one cell or check, and for the whole plan."""

    each: float = 120.0
    total: float = 900.0


DEFAULT_LIMITS = Limits()


@dataclass
class _Progress:
    """What is known of the plan so far; it survives the children."""

    trial: int = 0
    verdicts: list[dict[str, Verdict]] = field(default_factory=list)
    skip: dict[int, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    broken: str = ""


def judge(
    plan: Plan,
    folder: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    on_trial: Callable[[int, dict[str, Verdict]], None] = lambda number, verdicts: None,
    launch: Callable[[bytes, tuple[int, ...]], Launched] = launch,
) -> list[dict[str, Verdict]]:
    """Judge every trial of a plan.

    Parameters
    ----------
    folder : Path, optional
        Where the learner's files lie: the working directory of their cells, and the last place imports look.
    on_trial : callable
        Called with a trial's number and verdicts as soon as they are complete.
    launch : callable
        Starts a process for a request and the descriptors it needs; see ``launching.py``.

    Returns
    -------
    One dict per trial, from ``grade_id`` to ``Verdict``. A check that could not be judged scores 0 with the reason.
    """
    progress = _Progress(verdicts=[{} for _ in plan.trials])
    deadline = time.monotonic() + limits.total
    while progress.trial < len(plan.trials) and not progress.broken:
        _Child(plan, folder, limits, deadline, progress, on_trial, launch).run()
    if progress.broken:
        for number in range(progress.trial, len(plan.trials)):
            _fill(plan, progress, number, f"{NOT_JUDGED}: {progress.broken}")
            on_trial(number, progress.verdicts[number])
    return progress.verdicts


def _fill(plan: Plan, progress: _Progress, number: int, reason: str, only: str | None = None) -> None:
    for check in plan.checks_of(plan.trials[number]):
        if only in (None, check.grade_id) and check.grade_id not in progress.verdicts[number]:
            progress.verdicts[number][check.grade_id] = _zero(check, reason)


def _zero(check: Check, reason: str) -> Verdict:
    return Verdict(check.grade_id, check.exercise, check.points, 0.0, reason)


class _Child:
    """One process, from its start to its end, however it ends."""

    def __init__(self, plan, folder, limits, deadline, progress, on_trial, launch=launch) -> None:
        self._plan, self._folder, self._limits, self._launch = plan, folder, limits, launch
        self._deadline, self._progress, self._on_trial = deadline, progress, on_trial
        self._nonce = secrets.token_hex(16)
        self._stage: tuple[str, object] = ("start", "")
        self._outbox: Outbox | None = None
        self._sent: set[tuple[int, str]] = set()
        self._ended, self._spoilt = False, ""

    def run(self) -> None:
        reader, to_us = os.pipe()
        from_us, writer = os.pipe()
        self._outbox = Outbox(writer, self._nonce)
        try:
            try:
                process = self._launch(self._request(to_us, from_us), (to_us, from_us))
            finally:
                os.close(to_us)
                os.close(from_us)
            try:
                why = self._listen(Lines(reader), process)
            finally:
                process.kill()
        finally:
            os.close(reader)
            os.close(writer)
        if not self._ended:
            self._blame(why or self._spoilt or _how_it_ended(process.wait()))

    def _request(self, pipe: int, checks: int) -> bytes:
        """Everything the child is told at its start: no check's source is among it."""
        request = {
            "nonce": self._nonce,
            "pipe": pipe,
            "checks": checks,
            "folder": str(self._folder) if self._folder else "",
            "plan": self._plan.without_checks_sources().to_json(),
            "first": self._progress.trial,
            "done": list(self._progress.verdicts[self._progress.trial]),
            "skip": self._progress.skip,
        }
        return json.dumps(request).encode()

    def _listen(self, lines: Lines, process: Launched) -> str:
        """Read events until the child ends or says nothing too long; return why it was given up, if it was.

        Only events count as a sign of life: an answer that fills the pipe with noise is silent.
        """
        heard = time.monotonic()
        while True:
            patience = _START_UP_SECONDS if self._stage[0] in ("start", "given") else self._limits.each
            now = time.monotonic()
            left = min(heard + patience, self._deadline) - now
            if left <= 0:
                seconds = self._limits.total if now >= self._deadline else patience
                return f"took too long: stopped after {seconds:g} s"
            ended = process.poll() is not None
            self._outbox.flush()
            for line in lines.left() if ended else lines.arrived(min(left, _GLANCE_SECONDS)):
                if self._hear(line):
                    heard = time.monotonic()
            if ended or self._ended:
                return ""

    def _hear(self, line: bytes) -> bool:
        """Act on one line, if it is an event that can come now; say whether it was."""
        nonce, _, said = line.partition(b" ")
        if not secrets.compare_digest(nonce, self._nonce.encode()):
            return False
        try:
            texts = json.loads(said)
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                return False
            return self._act(*texts)
        except (ValueError, TypeError, LookupError, RecursionError):
            return False

    def _act(self, kind: str, *texts: str) -> bool:
        progress = self._progress
        if kind == "broken":
            (progress.broken,) = texts
        elif kind == "end":
            self._ended = bool(progress.broken) or progress.trial == len(self._plan.trials)
            return self._ended
        elif kind == "noted":
            self._note(*texts)
        elif int(texts[0]) != progress.trial:
            return False
        elif kind == "stage":
            self._stage = (texts[1], int(texts[2]) if texts[1] == "answer" else texts[2])
        elif kind == "spoilt":
            self._spoilt = texts[1]
        elif kind == "ask":
            return self._send(texts[1])
        elif kind == "verdict":
            return self._accept(*texts[1:])
        elif kind == "trial":
            _fill(self._plan, progress, progress.trial, f"{NOT_JUDGED}: its verdict was lost on the way")
            self._next_trial(progress.trial)
        return True

    def _under_way(self, grade_id: str) -> Check | None:
        """Return the check of that name if it is the one under way and has no verdict yet."""
        wanted = {check.grade_id: check for check in self._plan.checks_of(self._plan.trials[self._progress.trial])}
        check = wanted[grade_id]
        known = self._progress.verdicts[self._progress.trial]
        return check if self._stage == ("check", check.grade_id) and check.grade_id not in known else None

    def _send(self, grade_id: str) -> bool:
        """Let the child have the source of the check under way, once."""
        check, key = self._under_way(grade_id), (self._progress.trial, grade_id)
        if check is None or key in self._sent:
            return False
        self._sent.add(key)
        self._outbox.put(self._progress.trial, grade_id, check.source)
        return True

    def _accept(self, grade_id: str, score: str, reason: str, *notes: str) -> bool:
        """Take a verdict for the one check that is under way, once, and never for more than its points."""
        check = self._under_way(grade_id)
        if check is None:
            return False
        known = self._progress.verdicts[self._progress.trial]
        points = score_of(float(score), check.points)
        known[check.grade_id] = Verdict(check.grade_id, check.exercise, check.points, points, reason, notes)
        return True

    def _note(self, did: str, filename: str, number: str) -> None:
        """Remember what the audit hook saw, whatever the child's own memory is made to say later."""
        trial, (kind, which) = self._plan.trials[self._progress.trial], self._stage
        exercise = trial.exercise_of(filename)
        if exercise is None and kind == "check":
            exercise = next((check.exercise for check in self._plan.checks if check.grade_id == which), None)
        elif exercise is None and kind == "answer":
            exercise = trial.answers[which].exercise
        if exercise is not None:
            self._progress.seen.setdefault(exercise, str(spied(did, trial.line(filename, int(number)))))

    def _next_trial(self, number: int) -> None:
        verdicts, seen = self._progress.verdicts[number], self._progress.seen
        for grade_id, verdict in verdicts.items():
            if verdict.score and verdict.exercise in seen:
                verdicts[grade_id] = replace(verdict, score=0.0, reason=seen[verdict.exercise])
        self._on_trial(number, verdicts)
        self._progress.trial, self._progress.skip, self._progress.seen = number + 1, {}, {}

    def _blame(self, why: str) -> None:
        """Charge what the child was busy with, and set up the rest for the next child."""
        kind, which = self._stage
        progress, plan = self._progress, self._plan
        if kind == "answer" and time.monotonic() < self._deadline:
            progress.skip[which] = why
        elif kind == "check" and time.monotonic() < self._deadline:
            _fill(plan, progress, progress.trial, why, only=which)
        elif kind in ("answer", "check"):
            _fill(plan, progress, progress.trial, why)
            self._next_trial(progress.trial)
        else:
            progress.broken = f"{why} before any of your cells ran"


def _how_it_ended(code: int) -> str:
    if code == GONE:
        return "your code closed or replaced the pipes by which the grader speaks"
    if code < 0:
        return f"your code ended the grading process ({signal.Signals(-code).name})"
    return f"your code ended the grading process (exit status {code})"
