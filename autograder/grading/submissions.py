"""From a submitted notebook to a job: the same for the notebook at hand and for those that are sent ahead."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils

from autograder.errors import LessonError
from autograder.grading.job import Job, Settings
from autograder.grading.source import read_source, source_path
from autograder.judge.plan import Plan, Trial, answers_in, lesson_plan

MOST_BYTES = 256 << 20
"""Of files beside one notebook."""


@dataclass(frozen=True)
class Named:
    """Whose notebook it is, of which assignment, under which name."""

    student: str
    assignment: str
    notebook: str

    @classmethod
    def of(cls, resources: dict) -> Named:
        """Read the names from nbgrader's resources."""
        about = resources["nbgrader"]
        return cls(about["student"], about["assignment"], about["notebook"])

    def __str__(self) -> str:
        return f"{self.student}/{self.assignment}/{self.notebook}"


def resources_for(converter, path: str) -> dict:
    """Return what nbgrader's converter would pass to the preprocessors of a submitted notebook."""
    coursedir = converter.coursedir
    folder = coursedir.format_path(
        coursedir.submitted_directory, "(?P<student>.*)", "(?P<assignment>.*)", escape=True
    )
    found = re.match(re.escape(os.path.sep).join([folder, r"(?P<notebook>.*)\.ipynb"]), path)
    if found is None:
        raise LessonError(f"{path}: expected a notebook inside {coursedir.submitted_directory}/")
    about = {**found.groupdict(), "db_url": coursedir.db_url}
    name = about["notebook"]
    return {"unique_key": name, "output_files_dir": f"{name}_files", "nbgrader": about}


def noted(nb: NotebookNode) -> dict:
    """Return what the grader noted in a notebook's metadata, to be read or written; a submission may bring anything."""
    if not isinstance(nb.metadata.get("autograder"), dict):
        nb.metadata["autograder"] = NotebookNode()
    return nb.metadata["autograder"]


def unreadable(nb: NotebookNode) -> str:
    """Return why the submitted file could not be read as a notebook; empty if it could."""
    return str(noted(nb).get("unreadable", ""))


def plan_for(coursedir, named: Named) -> tuple[Plan, NotebookNode | None]:
    """Return the lesson's plan and the instructor's notebook; a plan without checks where scores come from outputs."""
    try:
        source = read_source(source_path(coursedir, named.assignment, named.notebook))
    except LessonError:
        return Plan((), ()), None
    return lesson_plan(source), source


def job_for(coursedir, nb: NotebookNode, named: Named, files: dict[str, bytes], settings: Settings) -> Job:
    """Return the job of a sanitised notebook."""
    plan, source = plan_for(coursedir, named)
    skip: tuple[int, ...] = ()
    told = None
    if plan.checks:
        skip = tuple(index for index, cell in enumerate(nb.cells) if cell.cell_type == "code" and utils.is_grade(cell))
        told = replace(plan, trials=(Trial(named.student, answers_in(nb, source)),)).to_json()
    return Job(str(named), nbformat.writes(nb, version=4), files, told, skip, settings)


def files_in(folder: str, ignore: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return the contents of what lies beside the notebooks in a folder, by relative name. Links are left out.

    Raises
    ------
    LessonError
        If they have more than ``MOST_BYTES`` together: they travel with every job.
    """
    found: dict[str, bytes] = {}
    total = 0
    for path in utils.find_all_files(folder, [*ignore, "*.ipynb"]):
        if not os.path.islink(path):
            total += os.path.getsize(path)
            if total > MOST_BYTES:
                raise LessonError(
                    f"the files beside the notebook have more than {MOST_BYTES >> 20} MiB; hand in without them, or put "
                    "large data where every worker can read it"
                )
            found[os.path.relpath(path, folder)] = Path(path).read_bytes()
    return found


def wanted(converter, student: str, assignment: str) -> bool:
    """Whether nbgrader will grade a submission (``BaseConverter.init_destination``, without its effects)."""
    coursedir = converter.coursedir
    if student in (coursedir.student_id_exclude or "").split(","):
        return False
    source = coursedir.format_path(coursedir.submitted_directory, student, assignment)
    graded = coursedir.format_path(coursedir.autograded_directory, student, assignment)
    if converter.force or not os.path.exists(graded):
        return True
    new, old = (coursedir.get_existing_timestamp(path) for path in (source, graded))
    return bool(new and old and new > old)
