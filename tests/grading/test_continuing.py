"""A run that is cut short, however: the next one goes on where it stopped, and the gradebook is as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from autograder.grading import work
from autograder.grading.course import Course
from autograder.grading.farm import Farm
from autograder.grading.grade import STATE, Wishes, grade
from autograder.grading.job import Job, Result
from autograder.grading.pending import Pending
from autograder.grading.results import Results
from benchmarks.classroom.gradebooks import differences, sqlite
from tests.grading import plain_course
from tests.grading.plain_course import NAME, RIGHT, WRONG

pytestmark = pytest.mark.xdist_group("any course")
STUDENTS = [f"student{number}" for number in range(6)]


@pytest.fixture(scope="module")
def ungraded(tmp_path_factory):
    root = plain_course.make(tmp_path_factory.mktemp("continuing") / "course")
    Course(root).generate_assignment(NAME)
    released = nbformat.read(root / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    for number, student in enumerate(STUDENTS):
        plain_course.hand_in(root, student, plain_course.answered(released, RIGHT if number % 2 else WRONG))
    return root


@pytest.fixture(scope="module")
def whole(ungraded, tmp_path_factory):
    """The gradebook of a run that nothing disturbed."""
    root = Path(shutil.copytree(ungraded, tmp_path_factory.mktemp("whole") / "course"))
    grade(Course(root), NAME)
    return root


@pytest.fixture
def executed(monkeypatch):
    """Whose notebooks workers execute, in order."""
    seen = []
    do = work.do

    def counted(job: Job) -> Result:
        seen.append(job.who.split("/")[0])
        return do(job)

    monkeypatch.setattr(work, "do", counted)
    return seen


def test_an_interrupted_run_is_continued(ungraded, whole, executed, monkeypatch, tmp_path):
    """GIVEN Ctrl-C after three WHEN the command is given again THEN the rest is graded, nobody twice or never."""
    course = Course(shutil.copytree(ungraded, tmp_path / "course"))
    result, asked = Farm.result, []

    def interrupted_at_the_fourth(farm, job):
        asked.append(job)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return result(farm, job)

    monkeypatch.setattr(Farm, "result", interrupted_at_the_fourth)
    first = grade(course, NAME, Wishes(workers=1))
    assert (first.interrupted, first.status, [o.student for o in first.outcomes]) == (True, 130, STUDENTS[:3])
    monkeypatch.setattr(Farm, "result", result)
    second = grade(course, NAME, Wishes(workers=1))
    assert (second.status, [o.student for o in second.outcomes], second.skipped) == (0, STUDENTS[3:], 3)
    assert differences(sqlite(whole), sqlite(course.root)) == []
    assert len(executed) <= len(STUDENTS) + 1, "at most the notebook that Ctrl-C cut short ran again"


def test_a_forced_run_that_was_cut_short_goes_on_with_the_rest(whole, executed, tmp_path):
    """GIVEN --force stopped with two left WHEN --force is given again THEN those two are graded, not everyone."""
    course = Course(shutil.copytree(whole, tmp_path / "course"))
    Pending(course.root / STATE / "pending", NAME).add(STUDENTS[4:])
    again = grade(course, NAME, Wishes(force=True))
    assert sorted(executed) == [o.student for o in again.outcomes] == STUDENTS[4:]
    assert Pending(course.root / STATE / "pending", NAME).students() == set()
    everyone = grade(course, NAME, Wishes(force=True))
    assert [o.student for o in everyone.outcomes] == STUDENTS
    assert differences(sqlite(whole), sqlite(course.root)) == []


def test_a_killed_driver_leaves_nothing_half_done(ungraded, whole, tmp_path):
    """GIVEN SIGKILL in the middle WHEN the command is given again THEN the gradebook is that of an undisturbed run."""
    root = Path(shutil.copytree(ungraded, tmp_path / "course"))
    command = [sys.executable, "-m", "autograder", "grade", NAME, "--workers", "1"]
    package = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(root.glob("autograded/*/*/*.ipynb"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = list(root.glob("autograded/*/*/*.ipynb"))
    assert 2 <= len(done) < len(STUDENTS)
    grade(Course(root), NAME, Wishes(workers=1))
    assert differences(sqlite(whole), sqlite(root)) == []


def test_a_damaged_result_is_executed_again(tmp_path):
    """GIVEN a result file that was cut in the middle THEN it counts as none."""
    results = Results(tmp_path)
    results.put("key", Result(seconds=1.0, remarks=("a",)))
    assert results.get("key") == Result(seconds=1.0, remarks=("a",))
    path = tmp_path / "key.json"
    path.write_text(path.read_text()[:-5])
    assert results.get("key") is None
    results.drop("key")
    assert results.get("key") is None


def test_a_changed_check_counts_for_those_graded_before(whole, tmp_path):
    """GIVEN a graded class WHEN a check is made stricter and released again THEN --force grades everyone by it."""
    course = Course(shutil.copytree(whole, tmp_path / "course"))
    path = course.root / "source" / NAME / f"{NAME}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    plain_course.cell(notebook, "visible").source = "assert double(3) == 6\n"
    nbformat.write(notebook, path)
    course.generate_assignment(NAME)
    summary = grade(course, NAME, Wishes(force=True, workers=2))
    assert {o.student: o.score for o in summary.outcomes} == {
        student: 6.0 if number % 2 else 1.5 for number, student in enumerate(STUDENTS)
    }
