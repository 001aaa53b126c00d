"""``make check``: the generated files are the lessons', and every exercise tells right from wrong."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat

from autograder.authoring.build import build_into, find_lessons, load, outputs, stale
from autograder.authoring.fixtures import expectations
from autograder.authoring.lesson import Lesson
from autograder.authoring.report import Report
from autograder.authoring.secrets import leaked
from autograder.errors import AutograderError
from autograder.host import environment
from autograder.judge.process import NOT_JUDGED, Limits, judge

FIXTURE_LIMITS = Limits(each=60.0, total=1800.0)
CELL_SECONDS = 120


def check(
    root, lessons: Iterable[str] | None = None, progress: Callable[[str], None] = print, run_notebooks: bool = True
) -> Report:
    """Prove all lessons, or those named, and return the report. Raises ``LessonError`` listing the faults, if any."""
    report = inspect(root, lessons, progress, run_notebooks)
    progress(f"{report.proofs} proofs, {len(report.faults)} faults")
    report.raise_if_faulty()
    return report


def inspect(
    root, lessons: Iterable[str] | None = None, progress: Callable[[str], None] = print, run_notebooks: bool = True
) -> Report:
    """Prove lessons and return the report, faults and all.

    Per lesson: the source is valid; the files below ``root`` equal a fresh build; nothing secret shows; nbgrader
    accepts the metadata and, with ``run_notebooks``, every cell of the notebook with answers; the stub fails; the
    answer scores 100 %; each fixture passes or fails as it says.
    """
    root = Path(root).resolve()
    report = Report(progress)
    target = Path(tempfile.mkdtemp(prefix="autograder-check-"))
    try:
        paths = find_lessons(root, lessons)
        for path in paths:
            progress(path.stem)
            try:
                _lesson(load(path), root, target, report, run_notebooks)
            except AutograderError as error:
                report.fault(str(error))
        if lessons is None:
            for path in stale(root, {path.stem for path in paths}):
                report.fault(f"{path}: its lesson is gone; run `make build`")
    finally:
        shutil.rmtree(target, ignore_errors=True)
    return report


def _lesson(lesson: Lesson, root: Path, target: Path, report: Report, run_notebooks: bool) -> None:
    build_into(target, [lesson], root)
    _drift(lesson, root, target, report)
    _secrets(lesson, target, report)
    _metadata(lesson, target, report)
    start = _cpu_seconds()
    if run_notebooks:
        _whole_notebook(lesson, target, root, report)
    notebook = _cpu_seconds()
    _fixtures(lesson, target, report)
    report.progress(
        f"  {_cpu_seconds() - start:.1f} s of processor time: {notebook - start:.1f} s for the whole notebook, "
        f"{_cpu_seconds() - notebook:.1f} s for {lesson.fixtures} fixtures"
    )


def _cpu_seconds() -> float:
    """Processor time of this process and of those it started that have ended."""
    return sum(os.times()[:4])


def _drift(lesson: Lesson, root: Path, target: Path, report: Report) -> None:
    for path in outputs(lesson.slug):
        if not (root / path).exists():
            report.fault(f"{path}: missing; run `make build`")
        elif (root / path).read_bytes() != (target / path).read_bytes():
            report.fault(f"{path}: differs from lessons/{lesson.path.name}; edit the lesson, then run `make build`")
        else:
            report.proved(f"{path} is up to date")


def _secrets(lesson: Lesson, target: Path, report: Report) -> None:
    _, *published = outputs(lesson.slug)
    for path in published:
        found = leaked(lesson, target / path)
        if found:
            report.fault(f"{path}: shows {found[0]!r}" + (f" and {len(found) - 1} more" if len(found) > 1 else ""))
        else:
            report.proved(f"{path} shows no answer, hidden test or fixture")


def _metadata(lesson: Lesson, target: Path, report: Report) -> None:
    from nbgrader.nbgraderformat import MetadataValidator, ValidationError

    for path in outputs(lesson.slug)[:2]:
        try:
            notebook = nbformat.read(target / path, as_version=4)
            nbformat.validate(notebook)
            MetadataValidator().validate_nb(notebook)
        except (ValidationError, nbformat.ValidationError) as error:
            report.fault(f"{path}: not valid: {str(error).splitlines()[0]}")
        else:
            report.proved(f"{path}: nbgrader accepts its metadata")


def _whole_notebook(lesson: Lesson, target: Path, root: Path, report: Report) -> None:
    """Run the notebook with answers through nbgrader's own validator, all cells counting."""
    from nbgrader.validator import Validator
    from traitlets.config import Config

    config = Config()
    config.Validator.validate_all = True
    config.Execute.timeout = CELL_SECONDS
    config.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
    path = outputs(lesson.slug)[0]
    search = os.pathsep.join(part for part in (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")) if part)
    with environment(PYTHONPATH=search, OMP_NUM_THREADS="1"):
        found = Validator(config=config).validate(str(target / path))
    failed = found.get("failed", []) + found.get("changed", []) + found.get("type_changed", [])
    for cell in failed:
        first = cell["source"].split("\n")[0]
        said = cell.get("raw_error", "its checksum or type changed").strip().split("\n")[-1]
        report.fault(f"{path}: nbgrader's validator fails the cell `{first}`: {said}")
    if not failed:
        report.proved(f"{path}: runs from top to bottom, and nbgrader's validator passes it")


def _fixtures(lesson: Lesson, target: Path, report: Report) -> None:
    solution, released = (nbformat.read(target / path, as_version=4) for path in outputs(lesson.slug)[:2])
    plan, expected = expectations(lesson, solution, released)

    def compare(number: int, verdicts: dict) -> None:
        broken = {verdict.reason for verdict in verdicts.values() if verdict.reason.startswith(NOT_JUDGED)}
        if broken:
            unjudged.update(broken)
            return
        complaint = expected[number].complaint(verdicts)
        label = f"{lesson.slug}: {expected[number].trial.label}"
        report.fault(f"{label}: {complaint}") if complaint else report.proved(label)

    unjudged: set[str] = set()
    judge(plan, limits=FIXTURE_LIMITS, on_trial=compare)
    for reason in sorted(unjudged):
        report.fault(f"{lesson.slug}: {reason}")
