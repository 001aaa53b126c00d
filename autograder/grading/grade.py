"""``autograder grade``: a whole assignment, through nbgrader's converter, with the execution farmed out."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from nbgrader.api import Gradebook
from nbgrader.converters.base import NbGraderException

from autograder.errors import GradingFailed
from autograder.grading.confine import decide
from autograder.grading.confine.settings import MODES as SANDBOX_MODES
from autograder.grading.converter import ClassAutograde
from autograder.grading.course import Course, log, ready_for_nbgrader
from autograder.grading.engines import engine_for
from autograder.grading.farm import Farm
from autograder.grading.job import Settings
from autograder.grading.outcomes import FAILED, failed, outcome_of
from autograder.grading.pending import Pending
from autograder.grading.progress import Display
from autograder.grading.results import Results
from autograder.grading.settings import Grading
from autograder.grading.summary import Summary
from autograder.grading.tally import Tally
from autograder.grading.work import confinement_of

STATE = ".autograder"
"""Folder in the course for what a run that was cut short had done and had still to do."""


@dataclass(frozen=True)
class Wishes:
    """What may be asked of a run; what is empty follows the course's settings.

    Attributes
    ----------
    students : tuple of str
        Grade only these.
    workers : int
        Submissions at a time on this machine.
    scheduler : str
        Address of a Dask scheduler to use instead.
    sandbox : str
        "required", "auto" or "off".
    force : bool
        Grade again what was graded before.
    outputs : bool
        Run notebooks for their outputs too, not only the checks.
    """

    students: tuple[str, ...] = ()
    workers: int = 0
    scheduler: str = ""
    sandbox: str = ""
    force: bool = False
    outputs: bool = True


def grade(course: Course, assignment: str, wishes: Wishes = Wishes()) -> Summary:
    """Grade what was submitted for an assignment, and return what became of it.

    Nothing that a submission does ends the run; Ctrl-C does, and the next call continues.

    Raises
    ------
    GradingFailed
        If nothing can be graded: no such assignment, no submission, a wish that cannot be met.
    """
    started = time.monotonic()
    with ready_for_nbgrader():
        converter, farm, display, tally = _prepared(course, assignment, wishes)
        summary = Summary(assignment, place=farm.engine.place)
        try:
            with display, _log_file(course, assignment):
                _convert(converter)
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            farm.close()
        _fill_in(summary, converter)
    summary.remarks = [remark for remark in tally.remarks if remark]
    summary.seconds = time.monotonic() - started
    return summary


def _prepared(course: Course, assignment: str, wishes: Wishes) -> tuple[ClassAutograde, Farm, Display, Tally]:
    config = course.config(assignment)
    grading = Grading(config=config)
    sandbox = wishes.sandbox or grading.sandbox
    if sandbox not in SANDBOX_MODES:
        raise GradingFailed(f"expected --sandbox required, auto or off, got {sandbox!r}")
    scheduler = wishes.scheduler or ("" if wishes.workers else grading.scheduler)
    tally = Tally()
    if not scheduler:  # a cluster's workers say themselves what they can
        tally.remarks[decide(confinement_of(Settings(sandbox=sandbox)))[1]] = None
    engine = engine_for(wishes.workers or (0 if scheduler else grading.workers), scheduler)
    farm = Farm(engine, Results(course.root / STATE / "results"), tally.add)
    display = Display(tally, engine.place)
    converter = course.converter(
        ClassAutograde,
        assignment,
        farm=farm,
        pending=Pending(course.root / STATE / "pending", assignment),
        students=wishes.students,
        listener=display,
        force=wishes.force,
    )
    converter.config.Grading.sandbox = sandbox
    if not wishes.outputs:
        converter.config.Execute.enabled = False
    return converter, farm, display, tally


def _convert(converter: ClassAutograde) -> None:
    """Run nbgrader's converter. That some submissions failed is told by the summary, not here."""
    try:
        converter.start()
    except NbGraderException as error:
        if not converter.wanted:
            raise GradingFailed(str(error)) from None


def _fill_in(summary: Summary, converter: ClassAutograde) -> None:
    coursedir, assignment = converter.coursedir, summary.assignment
    summary.skipped = converter.skipped
    waiting = converter.pending.students() if summary.interrupted else set()
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        for student in sorted(converter.wanted - waiting):
            why = converter.failures.get(student)
            outcome = failed(student, why) if why else outcome_of(coursedir, gradebook, student, assignment)
            if not (summary.interrupted and outcome.state == FAILED):
                summary.outcomes.append(outcome)


@contextlib.contextmanager
def _log_file(course: Course, assignment: str) -> Iterator[None]:
    """nbgrader's own log goes to a file: on the terminal it would drown what matters."""
    folder = course.root / STATE
    folder.mkdir(exist_ok=True)
    handler = logging.FileHandler(folder / f"{assignment.replace('/', '_')}.log", mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log().addHandler(handler)
    try:
        yield
    finally:
        log().removeHandler(handler)
        handler.close()
