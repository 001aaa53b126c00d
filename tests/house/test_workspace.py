"""A learner's work is never overwritten, whatever the course or the learner does."""

import pytest

from autograder.errors import LaunchError
from autograder.launch import workspace

LESSON = "01_first"
NAME = f"{LESSON}/{LESSON}.ipynb"


@pytest.fixture
def course(tmp_path):
    """A course with one released lesson and one file that the lesson reads."""
    folder = tmp_path / "notebooks" / LESSON
    folder.mkdir(parents=True)
    (folder / f"{LESSON}.ipynb").write_text("release 1")
    (folder / "trace.json").write_text("{}")
    return tmp_path


def release(course, text):
    (course / "notebooks" / NAME).write_text(text)


def mine(course, name=NAME):
    return course / "my_work" / name


def test_the_first_run_copies_everything(course):
    report = workspace.prepare(course)
    assert report.added == [NAME, f"{LESSON}/trace.json"]
    assert mine(course).read_text() == "release 1"
    assert mine(course, f"{LESSON}/trace.json").exists()


def test_the_second_run_has_nothing_to_do_or_say(course):
    workspace.prepare(course)
    assert workspace.prepare(course).lines() == []


def test_a_changed_notebook_is_kept_when_the_course_changes_and_the_learner_is_told(course):
    """GIVEN answers in my_work WHEN a new release arrives THEN the answers stay and the message says how to get it."""
    workspace.prepare(course)
    mine(course).write_text("my answers")
    release(course, "release 2")
    report = workspace.prepare(course)
    assert mine(course).read_text() == "my answers"
    assert report.newer == [NAME]
    assert report.lines() == [
        f"Kept your {NAME}; the course has a newer one: make fetch LESSON={LESSON} puts it beside yours"
    ]


def test_a_changed_notebook_is_not_called_old_while_the_course_stands_still(course):
    workspace.prepare(course)
    mine(course).write_text("my answers")
    assert workspace.prepare(course).lines() == []


def test_an_untouched_copy_follows_the_course(course):
    workspace.prepare(course)
    release(course, "release 2")
    assert workspace.prepare(course).updated == [NAME]
    assert mine(course).read_text() == "release 2"


def test_a_file_the_course_did_not_put_there_is_kept(course):
    """Does a notebook that was there before the first run survive?"""
    mine(course).parent.mkdir(parents=True)
    mine(course).write_text("brought along")
    assert workspace.prepare(course).newer == [NAME]
    assert mine(course).read_text() == "brought along"


@pytest.mark.parametrize("spoilt", [None, "", "[1", "[]"])
def test_a_lost_or_spoilt_record_costs_no_answers(course, spoilt):
    workspace.prepare(course)
    mine(course).write_text("my answers")
    record = course / "my_work" / workspace.RECORD
    record.unlink() if spoilt is None else record.write_text(spoilt)
    release(course, "release 2")
    workspace.prepare(course)
    assert mine(course).read_text() == "my answers"


def test_fetch_puts_the_new_release_beside_the_answers(course):
    workspace.prepare(course)
    mine(course).write_text("my answers")
    release(course, "release 2")
    fetched = workspace.fetch(course, "01")
    assert fetched.name == f"{LESSON}.new.ipynb" and fetched.read_text() == "release 2"
    assert mine(course).read_text() == "my answers"
    assert workspace.prepare(course).lines() == [], "a fetched release is no longer announced"


def test_fetching_again_never_overwrites_what_was_fetched_and_changed(course):
    workspace.prepare(course)
    first = workspace.fetch(course, LESSON)
    assert workspace.fetch(course, LESSON) == first, "the same release needs no second file"
    first.write_text("answers in the fetched copy")
    second = workspace.fetch(course, LESSON)
    assert second != first and first.read_text() == "answers in the fetched copy"


def test_a_misspelt_lesson_suggests_the_nearest(course):
    with pytest.raises(LaunchError, match="did you mean '01_first'"):
        workspace.fetch(course, "01_frist")


def test_a_course_without_notebooks_says_what_to_do(tmp_path):
    with pytest.raises(LaunchError, match="make build"):
        workspace.prepare(tmp_path)
