"""One exercise is put back; the answer is kept, and nothing else changes."""

import json

import pytest

from autograder.errors import LaunchError
from autograder.journal import standing, store
from autograder.launch import workspace
from autograder.launch.reset import reset

LESSON = "01_first"
STUB = "def answer():\n    # YOUR CODE HERE\n    raise NotImplementedError()"


def cell(source, grade_id=None, kind=None, **more):
    metadata = {"autograder": {"kind": kind}, "nbgrader": {"grade_id": grade_id}} if grade_id else {}
    return {"cell_type": "code", "id": grade_id or "x", "metadata": metadata, "source": source, **more}


@pytest.fixture
def course(tmp_path):
    """A course with one lesson of two exercises, and a learner's copy with both answered."""
    cells = [
        cell(["import this\n"], "setup", "setup", outputs=[], execution_count=None),
        cell(STUB.splitlines(keepends=True), "answer", "exercise", outputs=[], execution_count=None),
        cell(["def other(): ..."], "other", "exercise", outputs=[], execution_count=None),
        {"cell_type": "markdown", "metadata": {}, "source": ["# Notes é"]},
    ]
    path = tmp_path / "notebooks" / LESSON / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {"x": 1}, "nbformat": 4, "nbformat_minor": 5}))
    workspace.prepare(tmp_path)
    notebook = json.loads(mine(tmp_path).read_text())
    notebook["cells"][1].update(source="def answer():\n    return 42", outputs=[{"output_type": "stream"}])
    notebook["cells"][2].update(source=["def other():\n", "    return 43"], execution_count=7)
    write(tmp_path, notebook)
    return tmp_path


def mine(course):
    return course / "my_work" / LESSON / f"{LESSON}.ipynb"


def write(course, notebook):
    mine(course).write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")


def test_only_that_cell_changes_and_the_answer_is_kept(course):
    """GIVEN two answers WHEN one is reset THEN its stub is back, the other stands, and the old answer lies in a file."""
    before = json.loads(mine(course).read_text())
    said = reset(course, "01", "answer")
    after = json.loads(mine(course).read_text())
    assert "".join(after["cells"][1]["source"]) == STUB
    assert after["cells"][1]["outputs"] == []
    before["cells"][1] = after["cells"][1]
    assert after == before
    (kept,) = (course / "my_work" / ".kept").iterdir()
    assert kept.read_text() == "def answer():\n    return 42\n"
    assert str(kept.relative_to(course)) in said[1]
    assert "Reload Notebook from Disk" in said[2]


def test_answers_reset_within_one_second_are_all_kept(course):
    for number in range(3):
        notebook = json.loads(mine(course).read_text())
        notebook["cells"][1]["source"] = f"number {number}"
        write(course, notebook)
        reset(course, LESSON, "answer")
    kept = sorted(path.read_text() for path in (course / "my_work" / ".kept").iterdir())
    assert kept == ["number 0\n", "number 1\n", "number 2\n"]


def test_an_empty_exercise_is_left_alone(course):
    reset(course, "01", "answer")
    before = mine(course).read_bytes()
    assert reset(course, "01", "answer") == [
        f"answer in my_work/{LESSON}/{LESSON}.ipynb is empty already; nothing was changed."
    ]
    assert mine(course).read_bytes() == before


def test_the_journal_hears_of_it(course):
    reset(course, "01", "answer")
    (entry,), _ = store.read(course / "my_work" / store.JOURNAL)
    assert (entry.lesson, entry.exercise, entry.outcome) == (LESSON, "answer", "reset")
    assert standing.progress(course / "my_work" / store.JOURNAL).aside is None


@pytest.mark.parametrize(
    ("lesson", "exercise", "message"),
    [
        ("01_frist", "answer", "did you mean '01_first'"),
        ("01", "anwser", "did you mean 'answer'"),
        ("01", "setup", "choose one of: answer, other"),
        ("01", "", "choose one of: answer, other"),
        ("", "answer", "expected the name of a lesson"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(course, lesson, exercise, message):
    before = mine(course).read_bytes()
    with pytest.raises(LaunchError, match=message):
        reset(course, lesson, exercise)
    assert mine(course).read_bytes() == before


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"cells": 3}', '"text"'])
def test_a_spoilt_notebook_is_left_as_it_is(course, spoilt):
    mine(course).write_text(spoilt)
    with pytest.raises(LaunchError, match=f"cannot be read: .* left as it is; make fetch LESSON={LESSON}"):
        reset(course, "01", "answer")
    assert mine(course).read_text() == spoilt


def test_a_notebook_that_is_not_there_says_how_to_get_it(course):
    mine(course).unlink()
    with pytest.raises(LaunchError, match="found none. `make learn` copies it there"):
        reset(course, "01", "answer")


@pytest.mark.parametrize(("copies", "message"), [(0, "it was deleted"), (2, "found 2: it was copied")])
def test_a_cell_deleted_or_copied_is_told(course, copies, message):
    notebook = json.loads(mine(course).read_text())
    notebook["cells"][1:2] = notebook["cells"][1:2] * copies
    write(course, notebook)
    before = mine(course).read_bytes()
    with pytest.raises(LaunchError, match=message):
        reset(course, "01", "answer")
    assert mine(course).read_bytes() == before
