"""From a lesson to notebooks: what is in them, byte for byte the same each time, all or nothing."""

from __future__ import annotations

import json

import nbformat
import pytest

from autograder.authoring import build
from autograder.authoring.launchers import install_cell, read_address, with_badges
from autograder.errors import LaunchError, LessonError, UnknownLesson
from autograder.judge.source import strip_magics

LESSON = "00_tiny_sum"


def quiet(_line: str) -> None:
    """Show nothing."""


def files(course) -> dict[str, bytes]:
    """Everything generated, by path."""
    found = [path for part in ("solutions", "notebooks", "autograder") for path in (course / part).rglob("*")]
    return {str(path.relative_to(course)): path.read_bytes() for path in found if path.is_file()}


def notebook(course, part: str):
    return nbformat.read(course / part / LESSON / f"{LESSON}.ipynb", as_version=4)


@pytest.fixture
def built(course):
    build(course, progress=quiet)
    return course


def test_building_twice_gives_the_same_bytes(built):
    """Is a second build, from nothing, equal to the first?"""
    before = files(built)
    for path in before:
        (built / path).unlink()
    changed = build(built, progress=quiet)
    assert files(built) == before
    assert len(changed) == 3
    assert build(built, progress=quiet) == []


def test_students_get_a_stub_and_no_secrets(built):
    """Are answer, hidden test and fixtures gone from the student's notebook, and the stub in place?"""
    text = (built / "notebooks" / LESSON / f"{LESSON}.ipynb").read_text()
    assert "raise NotImplementedError()" in text
    for secret in ("SOLUTION", "HIDDEN", "seven batches", ".item() for b in", "ZeroDivisionError"):
        assert secret not in text


def test_cells_have_stable_names_and_no_outputs(built):
    """Do ids come from the lesson's own names, and is nothing executed?"""
    cells = notebook(built, "notebooks").cells
    assert [cell.id for cell in cells] == [
        *("text-1", "install", "setup", "given-batches", "demo-1"),
        *("totals", "check-totals", "hint-totals", "reflect-own_code"),
    ]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_run_all_goes_past_an_unsolved_exercise(built):
    """Are just the cells that need the answer allowed to fail?"""
    tagged = {cell.id for cell in notebook(built, "notebooks").cells if "raises-exception" in cell.metadata.get("tags", [])}
    assert tagged == {"check-totals"}


def test_nbgrader_knows_each_cell(built):
    """Is what must not change locked, and is what must be answered open?"""
    about = {
        cell.id: (cell.metadata.nbgrader.grade, cell.metadata.nbgrader.solution, cell.metadata.nbgrader.locked)
        for cell in notebook(built, "solutions").cells
        if "nbgrader" in cell.metadata
    }
    assert about == {
        "install": (False, False, True),
        "setup": (False, False, True),
        "given-batches": (False, False, True),
        "totals": (False, True, False),
        "check-totals": (True, False, True),
        "reflect-own_code": (True, True, False),
    }


def test_generated_files_name_their_source(built):
    """Does each generated file say which lesson to edit?"""
    for text in files(built).values():
        assert b"Generated from lessons/00_tiny_sum.py" in text


def test_the_reflection_keeps_its_question(built):
    """Does the student see the question, and a place to answer?"""
    (cell,) = [cell for cell in notebook(built, "notebooks").cells if cell.id == "reflect-own_code"]
    assert cell.source == "Where does your own code keep a loss?\n\nYOUR ANSWER HERE"


def test_the_data_file_has_hints_and_no_answers(built):
    """Does the package get hints, points and title, and nothing else of the exercise?"""
    data = json.loads((built / "autograder" / "data" / f"{LESSON}.json").read_text())
    assert data["exercises"]["totals"]["points"] == 2
    assert data["exercises"]["totals"]["hints"][2] == "Call `.item()`."
    assert "item() for b" not in json.dumps(data)


def test_a_failed_build_changes_nothing(built, lesson_file, change):
    """GIVEN a good build, WHEN a second lesson is broken, THEN all files stay as they were, the good lesson's too."""
    before = files(built)
    (built / "lessons" / "01_broken.py").write_text(lesson_file.read_text().replace("BEGIN SOLUTION", "BEGIN"))
    change("# title: A tiny lesson", "# title: Another title")
    with pytest.raises(LessonError, match=r"01_broken\.py, cell 5"):
        build(built, progress=quiet)
    assert files(built) == before
    assert not list(built.glob(".build-*"))


def test_what_nbgrader_refuses_is_reported(built, change):
    """GIVEN markers that only nbgrader objects to, THEN the message is nbgrader's, with the lesson's name."""
    change("Where does your own code", "### BEGIN MARK SCHEME\n# Where does your own code")
    with pytest.raises(LessonError, match=r"lessons/00_tiny_sum\.py: nbgrader refuses it: .*mark scheme"):
        build(built, progress=quiet)


def test_files_of_a_lesson_that_is_gone_go_too(built, lesson_file):
    """GIVEN a renamed lesson, WHEN built, THEN the old files go, and a stranger's file stays."""
    (built / "notebooks" / "mine").mkdir()
    mine = built / "notebooks" / "mine" / "mine.ipynb"
    mine.write_text("{}")
    lesson_file.rename(lesson_file.with_name("07_renamed.py"))
    build(built, progress=quiet)
    assert {path for path in files(built) if "00_tiny_sum" in path} == set()
    assert mine.exists()
    assert (built / "notebooks" / "07_renamed" / "07_renamed.ipynb").exists()


def test_one_lesson_may_be_named(built, change):
    """Does build(lessons=["00"]) build that one, and an unknown name list what there is?"""
    change("# minutes: 5", "# minutes: 6")
    assert len(build(built, lessons=["00"], progress=quiet)) == 1
    with pytest.raises(UnknownLesson, match="there are: 00_tiny_sum"):
        build(built, lessons=["09"], progress=quiet)


def test_badges_need_an_address(built):
    """GIVEN no repository, THEN no link; WHEN one is set, THEN badges and an install line that leave torch alone."""
    assert "{{badges}}" not in notebook(built, "notebooks").cells[0].source
    assert "http" not in (built / "notebooks" / LESSON / f"{LESSON}.ipynb").read_text()
    (built / "pyproject.toml").write_text('[tool.autograder]\nrepository = "ada/course"\n')
    build(built, progress=quiet)
    first, install = notebook(built, "notebooks").cells[:2]
    assert f"colab.research.google.com/github/ada/course/blob/main/notebooks/{LESSON}/{LESSON}.ipynb" in first.source
    assert "    %pip install -q --no-deps git+https://github.com/ada/course" in install.source
    assert "torch" not in install.source


def test_an_address_must_be_one(course):
    """Is a repository that is no OWNER/REPO refused?"""
    (course / "pyproject.toml").write_text('[tool.autograder]\nrepository = "https://example.org"\n')
    with pytest.raises(LaunchError, match="OWNER/REPO"):
        read_address(course)


@pytest.mark.parametrize("source", ["# T\n{{badges}}\n\nbody", "# T\n\n{{badges}}\n\nbody"])
def test_without_an_address_the_line_goes(source):
    """Does no empty line stay behind?"""
    assert with_badges(source, None, LESSON) == "# T\n\nbody"


def test_without_an_address_the_install_cell_says_what_to_do():
    """Is the first cell plain Python that raises only where the package is missing?"""
    exec(compile(install_cell(None), "install", "exec"), {})  # noqa: S102
    assert strip_magics(install_cell(None)) == install_cell(None)
