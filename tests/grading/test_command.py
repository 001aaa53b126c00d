"""``autograder grade`` as it is typed: what it prints, where, and its exit status."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from autograder.errors import GradingFailed
from autograder.grading import command
from autograder.grading.course import Course
from autograder.grading.job import Job, Result
from autograder.grading.outcomes import Outcome
from autograder.grading.progress import Display
from autograder.grading.summary import Summary
from autograder.grading.tally import Tally
from tests.grading import plain_course
from tests.grading.plain_course import NAME, RIGHT, WRONG

pytestmark = pytest.mark.xdist_group("any course")
ROOT = Path(__file__).resolve().parents[2]


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "autograder", *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = plain_course.make(tmp_path_factory.mktemp("command") / "course")
    Course(root).generate_assignment(NAME)
    released = nbformat.read(root / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    plain_course.hand_in(root, "ada", plain_course.answered(released, RIGHT))
    plain_course.hand_in(root, "bob", plain_course.answered(released, WRONG))
    plain_course.hand_in(root, "dia", b"{")
    return root


def test_a_class_is_graded_from_inside_its_folder(course):
    """GIVEN a course's folder WHEN grade is typed in a folder below THEN stdout is JSON, and progress is elsewhere."""
    done = typed(course / "submitted", "grade", NAME, "--json", "--student", "ada", "--student", "bob")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["counts"]) == (0, 0, {"right": 1, "partial": 1})
    assert "2 of 2 executed" in done.stderr
    again = typed(course, "grade", NAME)
    assert again.returncode == 3, again.stderr
    assert "1 unreadable; 2 graded before" in again.stdout and "not valid JSON" in again.stdout.replace("\n", " ")


def test_what_cannot_be_graded_is_one_message(course, tmp_path):
    """Does a wrong name, and a folder without a course, give one sentence on stderr and exit status 1?"""
    wrong = typed(course, "grade", "ps3")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: the gradebook has no assignment 'ps3'; it has ps1.")
    nowhere = typed(tmp_path, "grade", NAME)
    assert nowhere.returncode == 1 and "expected a folder with nbgrader_config.py" in nowhere.stderr
    with pytest.raises(GradingFailed, match="found no folder 'elsewhere'"):
        command.course_at("elsewhere")


def test_progress_says_how_many_how_and_how_fast():
    """Does a line of progress hold done, total, how they came out, the rate and the time left?"""
    tally = Tally()
    display = Display(tally, "here")
    display.begin(4)
    verdict = {"score": 2.0, "points": 2.0}
    for result in (Result(verdicts=[verdict]), Result(verdicts=[{**verdict, "score": 0.5}]), Result(ended="OutOfTime")):
        tally.add(Job("a", "{}", plan={}), result)
    display.saved("a")
    line = display.line()
    display.__exit__()
    assert line.startswith("3 of 4 executed (1 right, 1 partial, 1 crashed), 1 saved, ")
    assert "a minute" in line and line.endswith("s left")


@pytest.mark.parametrize(
    ("outcomes", "interrupted", "status"),
    [
        ([Outcome("a", "right", 1, 1)], False, 0),
        ([Outcome("a", "right", 1, 1), Outcome("b", "crashed", needs="it died")], False, 3),
        ([Outcome("a", "failed", needs="no"), Outcome("b", "crashed", needs="it died")], False, 1),
        ([Outcome("a", "right", 1, 1)], True, 130),
    ],
)
def test_the_exit_status_tells(outcomes, interrupted, status):
    """Is the status 0 when all is well, 3 when somebody should look, 1 when some failed, 130 after Ctrl-C?"""
    assert Summary("ps1", outcomes, interrupted=interrupted).status == status


def printed(*outcomes: Outcome) -> str:
    told = io.StringIO()
    Summary("ps1", list(outcomes)).print(Console(file=told, width=200))
    return told.getvalue()


def test_whoever_was_late_or_edited_cells_is_named_with_full_points_too():
    """GIVEN somebody right but late, and somebody who edited a check WHEN the summary is printed THEN it names both."""
    edited = Outcome("jo", "right", 1, 1, edited=("check-a", "setup"))
    told = printed(Outcome("ida", "right", 1, 1, late=95400.0), edited)
    assert "Late: ida by 26.5 h\n" in told
    assert "Edited cells that were not used: jo (check-a, setup)\n" in told
    assert "Late" not in printed(Outcome("ada", "right", 1, 1))


def test_what_looks_like_markup_in_a_reason_is_printed_as_it_is():
    """GIVEN a file name with rich's markup in it WHEN the summary is printed THEN it is there, letter by letter."""
    assert "found [/b] [red].ipynb" in printed(Outcome("a", "unreadable", needs="found [/b] [red].ipynb"))


def test_lines_of_a_log_are_not_broken_at_80_letters():
    """GIVEN no terminal WHEN the run's counts are longer than a line THEN they stay on one line."""
    states = ("right", "partial", "wrong", "crashed", "unreadable")
    told = io.StringIO()
    Summary("a_rather_long_name_of_a_problem_set", [Outcome(s, s) for s in states]).print(Console(file=told, width=80))
    assert "1 right, 1 partial, 1 wrong, 1 crashed, 1 unreadable. 0.0 s.\n" in told.getvalue()
