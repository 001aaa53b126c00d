"""The one thing a worker does: execute a job. It knows no gradebook and no course folder."""

from __future__ import annotations

import os
import platform
import time

import nbformat

from autograder.grading.confine import Confinement
from autograder.grading.job import Job, Result, Settings
from autograder.grading.judging import judged
from autograder.grading.running import RunOptions, run_notebook


def do(job: Job) -> Result:
    """Run the notebook and judge its answers; whatever goes wrong is part of the result, nothing is raised."""
    started = time.monotonic()
    try:
        about = _executed(job)
    except Exception as error:  # noqa: BLE001 - a fault of the grader's must not end the class's run
        about = {"lost": f"{type(error).__name__}: {error}"}
    return Result(**about, seconds=time.monotonic() - started, worker=f"{platform.node()}:{os.getpid()}")


def confinement_of(settings: Settings) -> Confinement:
    """Return the limits in the words of the sandbox."""
    return Confinement(mode=settings.sandbox, memory=settings.memory, processes=settings.processes)


def _executed(job: Job) -> dict:
    about: dict = {}
    confinement = confinement_of(job.settings)
    if job.settings.outputs:
        about = _outputs(job, confinement)
    if job.plan is not None:
        about["verdicts"], remarks = judged(job, confinement)
        about["remarks"] = (*about.get("remarks", ()), *remarks)
    return about


def _outputs(job: Job, confinement: Confinement) -> dict:
    settings = job.settings
    options = RunOptions(
        cell_timeout=settings.cell_timeout,
        total_timeout=settings.total_timeout,
        max_output=settings.max_output,
        skip=job.skip,
        confinement=confinement,
        warm=settings.warm,
    )
    ran = run_notebook(nbformat.reads(job.notebook, as_version=4), job.files, options)
    return {
        "outputs": {
            str(index): [cell.outputs, cell.execution_count]
            for index, cell in enumerate(ran.notebook.cells)
            if cell.cell_type == "code"
        },
        "metadata": {k: v for k, v in ran.notebook.metadata.items() if k in ("language_info", "widgets")},
        "ended": ran.ended,
        "remarks": tuple(ran.remarks),
    }
