"""A class graded by nbgrader: every kind of submission gets exactly the score it deserves."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.errors import LessonError
from autograder.grading.execution import mark_unreadable
from autograder.grading.source import read_source

pytestmark = pytest.mark.xdist_group("class")  # graded once, in one of the parallel test processes

LESSON = "00_small_leak"
SCORES = {
    "right": 2,
    "wrong": 0,
    "untouched": 0,
    "patched_check": 0,
    "patched_torch": 0,
    "redefined_helper": 0,
    "exits": 0,
    "hangs": 0,
    "edited_check_right": 2,
    "edited_check_wrong": 0,
    "deleted_check": 2,
    "edited_given": 0,
    "metadata": 0,
    "edited_helper_file": 0,
}
REASONS = {
    "wrong": "keeps a graph",
    "untouched": "not implemented",
    "patched_check": "tampered: `autograder.checks.",
    "patched_torch": "`torch.is_tensor`",
    "redefined_helper": "wrong results",
    "exits": "ended the grading process",
    "hangs": "took too long",
    "edited_check_right": "This check cell was edited in the submission",
    "edited_check_wrong": "This check cell was edited in the submission",
    "deleted_check": "This check cell was missing from the submission",
    "edited_given": "Edited given cells were not used: given-world",
    "edited_helper_file": "keeps a graph",
}


@pytest.mark.parametrize("student", SCORES)
def test_the_exported_score_is_exact(small_course, student):
    """Does the CSV export hold the score that the answer is worth, whatever came with it?"""
    row = small_course.rows[student]
    assert float(row["raw_score"] or 0) == SCORES[student]
    assert float(row["max_score"]) == 2


@pytest.mark.parametrize("student", REASONS)
def test_feedback_says_why(small_course, student):
    """Does the feedback page carry the reason, so that nobody has to ask?"""
    page = small_course.feedback(student, LESSON).replace("&#39;", "'").replace("&quot;", '"')
    assert REASONS[student] in page


def test_feedback_keeps_hidden_tests_hidden(small_course):
    """Can next year's class read the hidden tests in this year's feedback?"""
    assert "SECRET_BATCHES" not in small_course.feedback("wrong", LESSON)
    assert "no_graph" in small_course.feedback("wrong", LESSON)


def test_the_notebook_is_still_run_for_its_outputs(small_course):
    """Does the graded notebook show what the student's cells print?"""
    path = small_course.root / "autograded" / "right" / LESSON / f"{LESSON}.ipynb"
    outputs = [str(cell.get("outputs", "")) for cell in nbformat.read(path, as_version=4).cells]
    assert any("a demonstration" in output for output in outputs)


def test_a_missing_notebook_with_answers_is_named(tmp_path):
    """GIVEN no solutions folder, WHEN grading wants the source, THEN the message names the file and the command."""
    with pytest.raises(LessonError, match=r"x\.ipynb.*make build"):
        read_source(tmp_path / "x.ipynb")


def test_an_unreadable_submission_is_told_so_once():
    """GIVEN execution and judging, which both mark what cannot be read WHEN both did THEN a cell holds one reason."""
    check = {"grade": True, "grade_id": "check", "locked": True, "points": 1, "schema_version": 3, "solution": False}
    notebook = new_notebook(cells=[new_code_cell("1", metadata={"nbgrader": check})])
    mark_unreadable(notebook, "it is empty")
    mark_unreadable(notebook, "it is empty")
    assert [output.evalue for output in notebook.cells[0].outputs] == ["it is empty"]
