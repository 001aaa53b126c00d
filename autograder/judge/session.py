"""Judges trials in this process: the instructor's cells in one namespace, the learner's in another.

``T`` holds the instructor's cells. ``S`` starts from a copy of them and is where the learner's cells run. A check runs
in a copy of T, which is emptied afterwards: what the check binds cannot be read through a given class. Before a check
only the names that the exercises export go from S to T, so a given helper that the learner redefined, or a check that
the learner replaced, never meets the check.
What remains possible inside one Python process is listed in docs/security.md.
"""

from __future__ import annotations

import gc
import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType

from autograder.errors import LessonBroken
from autograder.judge import canary
from autograder.judge.audit import Books
from autograder.judge.eyes import Eyes, shared_eyes
from autograder.judge.helpers import Namespace, bound_by, read_inside
from autograder.judge.plan import Answer, Check, Given, Plan, Trial
from autograder.judge.printed import Printed
from autograder.judge.seal import Seal
from autograder.judge.torch_state import Switches, Threads
from autograder.judge.verdict import Verdict, explain, forget_frames, in_part, left_on, score_of, spied, tampered
from autograder.judge.watched import watched_body
from autograder.session import current_lesson, device_module
from autograder.trace import default_device


@dataclass
class _Loaded:
    """One trial's learner code after it ran."""

    namespace: dict
    errors: dict[str, str] = field(default_factory=dict)
    tampering: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


class Session:
    """Runs a plan's trials one after the other, undoing in between what they changed.

    Parameters
    ----------
    stage : callable
        Told ``("given", "")``, ``("answer", index)`` or ``("check", grade_id)`` before each starts, so that whoever
        watches this process knows what hung or killed it.
    source_of : callable
        Gives a check's source when its turn has come.
    eyes : Eyes, optional
        An audit hook that was opened before; otherwise one for the whole process, open only while a trial runs.
    spoilt : callable
        Told why nothing else should be judged in this process; it may end the process.
    """

    def __init__(
        self,
        plan: Plan,
        stage: Callable[[str, object], None] = lambda kind, which: None,
        source_of: Callable[[Check], str] = lambda check: check.source,
        eyes: Eyes | None = None,
        spoilt: Callable[[str], None] = lambda why: None,
        printed: Printed | None = None,
    ) -> None:
        self._plan = plan
        self._eyes = eyes or shared_eyes()
        self._printed = printed or Printed()
        self._stage, self._source_of, self._spoilt = stage, source_of, spoilt
        self._setup: dict | None = None
        self._device = None
        self._seal: Seal | None = None
        self._switches: Switches | None = None
        self._threads: Threads | None = None
        self._books: Books | None = None
        self._instructors_files = frozenset(f"<{cell}>" for cell in plan.cells)
        codes = [_compiled(given.source) for given in plan.given]
        self._globals = frozenset().union(*(bound_by(code, only_globals=True) for code in codes))
        self._read_by_given = frozenset().union(*map(read_inside, codes))

    def run(self, trial: Trial, done: frozenset[str] = frozenset(), skip: dict[int, str] | None = None):
        """Yield a ``Verdict`` per check of the trial.

        ``done`` are checks to leave out; ``skip`` maps the index of an answer not to run to the reason.
        Raises ``LessonBroken`` if an instructor's cell fails.
        """
        self._stage("given", "")
        trusted = self._given_namespace()
        self._arm()
        for given in self._plan.given:
            if not given.setup:
                self._run_given(given, trusted)
        self._threads, self._books = Threads(), Books()
        loaded = _Loaded(self._copy_for_learner(trusted))
        helpers = Namespace(trusted, self._globals)
        self._eyes.arm(self._instructors_files)
        try:
            for index, answer in enumerate(trial.answers):
                if skip and index in skip:
                    loaded.errors[answer.exercise or ""] = skip[index]
                    continue
                self._stage("answer", index)
                self._load(answer, trial, loaded, helpers)
                if left := self._threads.still_running():
                    self._spoilt(str(left_on(left)))
            self._calm()
            for check in self._plan.checks_of(trial):
                if check.grade_id not in done:
                    self._stage("check", check.grade_id)
                    verdict = self._judge(check, trial, trusted, loaded)
                    gc.disable()
                    yield verdict
                    gc.enable()
                    if left := self._threads.still_running():
                        self._spoilt(str(left_on(left)))
        finally:
            self._eyes.disarm()

    def _given_namespace(self) -> dict:
        if self._setup is None:
            self._setup = {"__name__": "__main__", "display": _display}
            for given in self._plan.given:
                if given.setup:
                    self._run_given(given, self._setup)
        return dict(self._setup)

    def _run_given(self, given: Given, namespace: dict) -> None:
        try:
            _execute(given.source, f"<{given.name}>", namespace)
        except BaseException as error:
            raise LessonBroken(
                f"the lesson's own cell {given.name!r} fails: {type(error).__name__}: {error}"
            ) from error

    def _arm(self) -> None:
        """Take the seal once everything trusted is loaded and none of the learner's code has run.

        What exists by then is put out of the garbage collector's sight: each recording collects once, and would
        otherwise walk all of torch's own objects (0.4 s instead of a few milliseconds).
        """
        if self._seal is None:
            self._device = default_device() if current_lesson() else None
            self._seal = Seal([device_module()], self._eyes.rewrites)
            gc.collect()
            gc.freeze()
            self._switches = Switches()

    def _calm(self) -> None:
        """Put everything back; the generators are seeded anew, and garbage is collected."""
        self._seal.restore()
        self._switches.restore()

    def _load(self, answer: Answer, trial: Trial, loaded: _Loaded, helpers: Namespace) -> None:
        """Run one of the learner's cells, and undo and note what it replaced or tried."""
        self._run_answer(answer, loaded)
        self._take_notes(trial, loaded, answer.exercise)
        replaced = self._seal.broken(thoroughly=False) + helpers.broken()
        self._seal.restore()
        helpers.restore()
        if replaced and answer.exercise:
            error = tampered(replaced, f"in your answer to {answer.exercise}")
            loaded.tampering.setdefault(answer.exercise, str(error))
        elif replaced:
            loaded.notes.append(str(tampered(replaced, f"in {answer.label}; it was put back")))

    def _take_notes(self, trial: Trial, loaded: _Loaded, during: str | None) -> None:
        """Charge what the audit hook saw to the exercise whose cell did it, else to the one under way."""
        for seen in self._eyes.take():
            exercise = trial.exercise_of(seen.filename) or during
            text = str(spied(seen.did, trial.line(seen.filename, seen.line)))
            if exercise:
                loaded.tampering.setdefault(exercise, text)
            else:
                loaded.notes.append(f"{text} It was stopped.")

    def _copy_for_learner(self, trusted: dict) -> dict:
        """Run the given cells again for the learner, but share the classes, so that ``isinstance`` still holds."""
        namespace = dict(self._setup)
        for given in self._plan.given:
            if not given.setup:
                self._run_given(given, namespace)
                for name, value in list(namespace.items()):
                    if isinstance(value, type) and isinstance(trusted.get(name), type):
                        namespace[name] = trusted[name]
        return namespace

    def _run_answer(self, answer: Answer, loaded: _Loaded) -> None:
        filename = f"<{answer.label}>"
        loaded.files.add(filename)
        try:
            _execute(answer.source, filename, loaded.namespace)
        except BaseException as error:  # noqa: BLE001 - whatever the learner raises is a result
            if answer.exercise:
                loaded.errors[answer.exercise] = explain(error, frozenset(loaded.files))
            forget_frames(error)

    def _judge(self, check: Check, trial: Trial, trusted: dict, loaded: _Loaded) -> Verdict:
        notes = tuple(loaded.notes)

        def verdict(score: float, reason: str = "") -> Verdict:
            return Verdict(check.grade_id, check.exercise, check.points, score, reason, notes)

        if check.exercise in loaded.tampering:
            return verdict(0.0, loaded.tampering[check.exercise])
        missing = [name for name in check.exports if name not in loaded.namespace]
        if missing:
            return verdict(0.0, _not_defined(missing, loaded.errors.get(check.exercise)))
        value, reason = 0.0, ""
        self._printed.listen(self._instructors_files)
        try:
            value = self.run_check(check, trusted, loaded)
        except BaseException as error:  # noqa: BLE001 - as above
            reason = explain(error, frozenset(loaded.files))
            forget_frames(error)
        self._calm()
        self._take_notes(trial, loaded, check.exercise)
        reason = loaded.tampering.get(check.exercise, reason)
        if reason:
            return verdict(0.0, reason)
        score = score_of(value, check.points)
        return verdict(score, "" if score >= check.points else in_part(score, check.points, self._printed.reason()))

    def run_check(self, check: Check, trusted: dict, loaded: _Loaded):
        """Run the instructor's source in T, with the exported names in place while it runs; return its last value."""
        self._nothing_left_on()
        binding: frozenset[str] = frozenset()

        def verify(thoroughly: bool = False) -> None:
            replaced = self._seal.broken(thoroughly) + given.broken(binding if space is trusted else frozenset())
            if space is not trusted:
                replaced += namespace.broken(binding)
            if replaced:
                raise tampered(replaced, "while your answer ran")
            self._books.check()

        statements = watched_body(self._source_of(check), f"<{check.grade_id}>", verify)
        before = dict(trusted)
        exports = {name for other in self._plan.checks for name in other.exports}
        trusted.update({name: loaded.namespace[name] for name in exports if name in loaded.namespace})
        bound = frozenset().union(*(bound_by(code) for code, _ in statements))
        anywhere = self._globals.union(*(bound_by(code, only_globals=True) for code, _ in statements))
        space = trusted if bound & self._read_by_given else dict(trusted)
        given, namespace = Namespace(trusted, anywhere), Namespace(space, anywhere)
        try:
            self._sing()
            value = None
            for code, is_last in statements:
                binding = bound_by(code)
                value = eval(code, space) if is_last else exec(code, space)  # noqa: S102
                verify()
                self._nothing_left_on()
                namespace.accept()
                if space is trusted:
                    given.accept()
            self._sing()
            verify(thoroughly=True)
            return value
        finally:
            for spoilt in (namespace, given):
                spoilt.restore()
            for emptied in (space, trusted):
                emptied.clear()
            trusted.update(before)

    def _nothing_left_on(self) -> None:
        flipped = self._switches.flipped() + self._threads.still_running()
        if flipped:
            raise left_on(flipped)

    def _sing(self) -> None:
        self._nothing_left_on()
        if self._device is not None:
            canary.sing(self._device)


def _not_defined(names: list[str], stopped_by: str | None) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    why = f"your cell stopped: {stopped_by}" if stopped_by else "keep the names that the exercise gives"
    return f"not defined: the check needs {listed}; {why}"


def _compiled(source: str) -> CodeType:
    try:
        return compile(source, "<given>", "exec", dont_inherit=True)
    except SyntaxError:
        return compile("", "<given>", "exec")


def _execute(source: str, filename: str, namespace: dict) -> None:
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)  # noqa: S102


def _display(*_objects, **_options) -> None:
    """Stand in for IPython's ``display``: there is nobody to look."""
