"""One converter's run: its farm, and the submissions that are sent ahead of nbgrader's own loop.

nbgrader converts one notebook after the other, and writes the gradebook in between. When the first one is to be
executed, all others are sanitised in memory and sent to the workers as a hint: by the time nbgrader comes to them, their
results are there. A wrong guess costs time, not correctness, because nbgrader's own pass makes its own job.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable

import nbformat

from autograder.grading.engines import engine_for
from autograder.grading.farm import Farm
from autograder.grading.job import Job, Result, Settings
from autograder.grading.settings import Grading, settings_from
from autograder.grading.submissions import Named, files_in, job_for, resources_for, unreadable, wanted

_FIELDS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_QUIET = logging.getLogger("autograder.grading.ahead")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def field_of(preprocessor) -> Field:
    """Return the run that a preprocessor of an exporter of a converter belongs to."""
    converter = preprocessor.parent.parent
    if converter not in _FIELDS:
        prepare(converter)
    return _FIELDS[converter]


def prepare(converter, farm: Farm | None = None, wanted: Callable[[str], bool] | None = None) -> Field:
    """Make the run of a converter.

    Without a farm it gets one of its own, from the course's settings, which ends with it. ``wanted(student)`` says
    whether a submission will be graded; by default as nbgrader decides.
    """
    grading = Grading(parent=converter)
    if farm is None:
        farm = Farm(engine_for(grading.workers, grading.scheduler))
        weakref.finalize(converter, farm.close)
    field = _FIELDS[converter] = Field(converter, grading, farm, wanted)
    return field


class Field:
    """What one converter's preprocessors share."""

    def __init__(self, converter, grading: Grading, farm: Farm, wanted: Callable[[str], bool] | None = None) -> None:
        self._converter = weakref.ref(converter)
        self._grading = grading
        self._wanted = wanted
        self.farm = farm
        self._sent = False
        self._current: tuple[Named, Result] | None = None
        self._jobs: dict[str, list[Job]] = {}
        self._given: dict[str, dict[str, bytes]] = {}

    def result(self, nb, resources: dict) -> Result:
        """Return the result of the notebook at hand, the same to every preprocessor that asks during its conversion."""
        named = Named.of(resources)
        if self._current is not None and self._current[0] == named:
            return self._current[1]
        converter = self._converter()
        settings = _settings(converter.exporter, self._grading)
        if not self._sent:
            self._sent = True
            self._send_ahead(converter, settings)
        files = files_in(resources.get("metadata", {}).get("path") or ".")
        job = job_for(converter.coursedir, nb, named, files, settings)
        result = self.farm.result(job)
        self._jobs.setdefault(named.student, []).append(job)
        self._current = named, result
        return result

    def saved(self, student: str) -> None:
        """A submission's scores are in the gradebook."""
        for job in self._jobs.pop(student, ()):
            self.farm.saved(job)
        self._current = None

    def _send_ahead(self, converter, settings: Settings) -> None:
        exporter = converter.exporter_class(parent=converter, config=converter.config)
        exporter.log = _QUIET
        for step in converter.sanitize_preprocessors:
            exporter.register_preprocessor(step)
        for folder in sorted(converter.assignments):
            for path in sorted(converter.assignments[folder]):
                try:
                    self._send(converter, exporter, folder, path, settings)
                except Exception as error:  # noqa: BLE001 - nbgrader's own pass meets it again, and reports it
                    _QUIET.debug("not sent ahead: %s: %s", path, error)

    def _send(self, converter, exporter, folder: str, path: str, settings: Settings) -> None:
        resources = resources_for(converter, path)
        named = Named.of(resources)
        if not (self._wanted(named.student) if self._wanted else wanted(converter, named.student, named.assignment)):
            return
        text, _ = exporter.from_filename(path, resources=resources)
        nb = nbformat.reads(text, as_version=4)
        if unreadable(nb):
            return
        coursedir = converter.coursedir
        files = {**files_in(folder, tuple(coursedir.ignore)), **self._instructors_files(converter, named.assignment)}
        self.farm.submit(job_for(coursedir, nb, named, files, settings))

    def _instructors_files(self, converter, assignment: str) -> dict[str, bytes]:
        """Return the files that nbgrader copies over the student's; read once, and the same objects for all jobs."""
        if assignment not in self._given:
            coursedir = converter.coursedir
            folder = coursedir.format_path(coursedir.source_directory, ".", assignment)
            kept = converter.exclude_overwriting.get(assignment, ())
            found = files_in(folder, tuple(coursedir.ignore))
            self._given[assignment] = {name: content for name, content in found.items() if name not in kept}
        return self._given[assignment]


def _settings(exporter, grading: Grading) -> Settings:
    from autograder.grading.execution import FarmedExecute
    from autograder.grading.preprocessor import TrustedVerdict

    return settings_from(grading, FarmedExecute(parent=exporter), TrustedVerdict(parent=exporter))
