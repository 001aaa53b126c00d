"""What a verdict needs, as plain data: the instructor's cells, the checks, and the learner's cells in order."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace

from autograder.judge.source import definitions_only, strip_magics


@dataclass(frozen=True)
class Given:
    """An instructor's cell that checks may rely on. Set-up cells run once a process, the others once a trial."""

    name: str
    source: str
    setup: bool = False


@dataclass(frozen=True)
class Check:
    """One autograded cell: the instructor's source, hidden tests included (empty in the judge's process)."""

    grade_id: str
    exercise: str
    points: float
    source: str
    exports: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """One of the learner's cells. ``exercise`` is None where it is not an exercise's own cell."""

    label: str
    source: str
    exercise: str | None = None


@dataclass(frozen=True)
class Trial:
    """One set of answers to judge; ``only`` limits it to the checks of one exercise."""

    label: str
    answers: tuple[Answer, ...]
    only: str | None = None

    def exercise_of(self, filename: str) -> str | None:
        """Return the exercise whose answer was compiled under this name."""
        return next((a.exercise for a in self.answers if f"<{a.label}>" == filename), None)

    def line(self, filename: str, number: int) -> str:
        """Quote a line of one of the learner's cells: ``line 3: `source` ``; empty where it is none of theirs."""
        sources = [a.source for a in self.answers if f"<{a.label}>" == filename]
        if not sources:
            return ""
        lines = sources[0].split("\n")
        return f"line {number}: `{lines[number - 1].strip()}`" if 0 < number <= len(lines) else f"line {number}"


@dataclass(frozen=True)
class Plan:
    """A lesson and the trials to judge against it."""

    given: tuple[Given, ...]
    checks: tuple[Check, ...]
    trials: tuple[Trial, ...] = field(default=())

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of the instructor's cells."""
        return (*(given.name for given in self.given), *(check.grade_id for check in self.checks))

    def checks_of(self, trial: Trial) -> list[Check]:
        return [check for check in self.checks if trial.only in (None, check.exercise)]

    def without_checks_sources(self) -> Plan:
        """Return what may be known before the answers have run."""
        return replace(self, checks=tuple(replace(check, source="") for check in self.checks))

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Plan:
        trials = (
            Trial(t["label"], tuple(Answer(**answer) for answer in t["answers"]), t["only"]) for t in data["trials"]
        )
        return cls(
            given=tuple(Given(**given) for given in data["given"]),
            checks=tuple(Check(**{**check, "exports": tuple(check["exports"])}) for check in data["checks"]),
            trials=tuple(trials),
        )


def lesson_plan(source_notebook) -> Plan:
    """Read the instructor's notebook (answers and hidden tests included) into a plan without trials."""
    given, checks, exports = [], [], {}
    for cell in source_notebook.cells:
        about = cell.metadata.get("autograder", {})
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if about.get("kind") in ("setup", "given"):
            given.append(Given(grade_id, strip_magics(cell.source), setup=about["kind"] == "setup"))
        elif about.get("kind") == "exercise":
            exports[about["exercise"]] = tuple(about["exports"])
        elif about.get("kind") == "check":
            points = float(cell.metadata["nbgrader"]["points"])
            checks.append(Check(grade_id, about["exercise"], points, cell.source, exports[about["exercise"]]))
    return Plan(tuple(given), tuple(checks))


def answers_in(notebook, source_notebook) -> tuple[Answer, ...]:
    """Pick the learner's cells out of a submitted notebook, in order.

    Cells the instructor owns (set-up, given, checks, hints) are left out, whatever they say now. A demonstration
    left as it was contributes only its definitions. Anything else that is code counts as the learner's.
    """
    owner = {_grade_id(cell): _kind(cell) for cell in source_notebook.cells if _grade_id(cell)}
    untouched = {digest(cell.source) for cell in source_notebook.cells if _kind(cell) in ("demo", "hint")}
    found = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        kind = owner.get(_grade_id(cell))
        if kind == "exercise":
            slug = _grade_id(cell)
            found.append(Answer(f"your answer to {slug}", strip_magics(cell.source), slug))
        elif kind is not None:
            continue
        elif digest(cell.source) in untouched:
            found.append(Answer(f"cell {number}", definitions_only(cell.source)))
        else:
            found.append(Answer(f"cell {number}", strip_magics(cell.source)))
    return tuple(answer for answer in found if answer.source.strip())


def digest(source: str) -> str:
    """Return the short fingerprint by which an unchanged cell is known."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _grade_id(cell) -> str | None:
    about = cell.metadata.get("nbgrader", {})
    return about.get("grade_id") if isinstance(about, dict) else None


def _kind(cell) -> str | None:
    about = cell.metadata.get("autograder", {})
    return about.get("kind") if isinstance(about, dict) else None
