"""``autograder grade`` on a course that is not this one: nbgrader's own gradebook, and a result for everything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde

from autograder.errors import GradingFailed
from autograder.grading.course import Course, ready_for_nbgrader
from autograder.grading.grade import Wishes, grade
from benchmarks.classroom.gradebooks import differences, sqlite
from tests.grading import plain_course, submissions
from tests.grading.plain_course import NAME

pytestmark = pytest.mark.xdist_group("any course")


class TwoWays:
    """One class graded by plain nbgrader and by ours, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.plain = plain_course.make(folder / "plain")
        Course(self.plain).generate_assignment(NAME)
        with Gradebook(sqlite(self.plain)) as gradebook:
            gradebook.update_or_create_assignment(NAME, duedate=submissions.DUE)
        self.released = nbformat.read(self.plain / "release" / NAME / f"{NAME}.ipynb", as_version=4)
        self.students = submissions.gradable(self.plain, self.released)
        self.ours = Path(shutil.copytree(self.plain, folder / "ours"))
        _with_plain_nbgrader(self.plain)
        secret = folder / "elsewhere" / "secret.ipynb"
        secret.parent.mkdir()
        nbformat.write(plain_course.source(), secret)
        submissions.bad(self.ours, self.released, secret)
        self.summary = grade(Course(self.ours), NAME, Wishes(workers=2))
        self.outcomes = {outcome.student: outcome for outcome in self.summary.outcomes}
        Course(self.ours).generate_feedback(NAME)


def _with_plain_nbgrader(root: Path) -> None:
    converter = Course(root).converter(Autograde, NAME)
    with ready_for_nbgrader():
        converter.start()


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    return TwoWays(tmp_path_factory.mktemp("any-course"))


def test_the_gradebook_is_nbgraders_own(graded):
    """GIVEN the same submissions WHEN plain nbgrader and ours grade them THEN every row of the gradebooks is the same."""
    bad = frozenset(submissions.BAD)
    assert differences(sqlite(graded.plain), sqlite(graded.ours), without=bad) == []


def test_scores_are_what_the_answers_are_worth(graded):
    """Are right answers right, wrong ones wrong, and partial credit partial?"""
    scores = {s: (o.score, o.state) for s, o in graded.outcomes.items() if s in graded.students}
    assert scores["right"] == scores["zoë müller"] == scores["late"] == scores["own_file"] == (6.0, "right")
    assert scores["partly"] == (4.0, "partial")
    assert scores["wrong"] == (2.5, "partial")
    assert scores["untouched"][0] == scores["syntax_error"][0] == 0.0
    assert scores["fewer_points"] == scores["other_kernel"] == scores["older_format"] == (6.0, "right")


@pytest.mark.parametrize("student", submissions.BAD)
def test_everything_handed_in_has_a_result(graded, student):
    """Does a submission that plain nbgrader cannot grade get a state and the reason, in the gradebook too?"""
    state, why = submissions.BAD[student]
    outcome = graded.outcomes[student]
    assert (outcome.state, why in outcome.needs) == (state, True), outcome
    with Gradebook(sqlite(graded.ours)) as gradebook:
        score = gradebook.find_submission(NAME, student).score
    assert score == (6.0 if state == "right" else 0.0)


@pytest.mark.parametrize("student", [s for s, (_, why) in submissions.BAD.items() if why])
def test_the_student_reads_the_reason(graded, student):
    """Does the feedback page say why there are no points?"""
    page = (graded.ours / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert submissions.BAD[student][1] in page.replace("&#39;", "'")


def test_no_link_is_followed(graded):
    """GIVEN a link beside a notebook to a file elsewhere THEN the file is not copied into the graded folder."""
    assert not (graded.ours / "autograded" / "steals" / NAME / "notes.txt").exists()


def test_the_summary_says_who_needs_a_human(graded):
    """Does the exit status tell that somebody must look, and are the counts those of the submissions?"""
    assert graded.summary.status == 3
    told = json.loads(json.dumps(graded.summary.to_json()))
    assert sum(told["counts"].values()) == len(graded.students) + len(submissions.BAD)
    needy = {one["student"] for one in told["submissions"] if one["needs"]}
    assert needy == {student for student, (_, why) in submissions.BAD.items() if why}


def test_what_was_graded_is_not_graded_again(graded):
    """GIVEN a graded class WHEN it is graded again THEN nothing runs; a newer submission alone is regraded."""
    course = Course(graded.ours)
    again = grade(course, NAME, Wishes(workers=1))
    assert (again.outcomes, again.status) == ([], 0)
    assert again.skipped == len(graded.students) + len(submissions.BAD)
    plain_course.hand_in(
        graded.ours, "late", plain_course.answered(graded.released, plain_course.WRONG),
        timestamp__txt="2026-03-03 12:00:00 UTC",
    )  # fmt: skip
    newer = grade(course, NAME, Wishes(workers=1))
    assert [(o.student, o.score) for o in newer.outcomes] == [("late", 2.5)]
    assert newer.outcomes[0].late == 2 * 24 * 3600


@pytest.mark.parametrize(
    ("assignment", "wishes", "said"),
    [
        ("ps2", Wishes(), "the gradebook has no assignment 'ps2'; it has ps1"),
        (NAME, Wishes(students=("nobody",)), "nothing was handed in from nobody"),
        (NAME, Wishes(workers=-1), "expected --workers of 1 or more, got -1"),
        (NAME, Wishes(workers=2, scheduler="tcp://127.0.0.1:9"), "got both"),
        (NAME, Wishes(sandbox="sometimes"), "required, auto or off"),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_sentence(graded, assignment, wishes, said):
    """Does bad input give one message that says what was expected and found?"""
    with pytest.raises(GradingFailed, match=said):
        grade(Course(graded.ours), assignment, wishes)
