"""What a class got wrong, and a class without names."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbgrader.coursedir import CourseDirectory
from rich.console import Console

from autograder.authoring.build import load
from autograder.errors import GradingFailed
from autograder.grading import command
from autograder.grading.anonymous import Anonymous
from autograder.grading.sharing import share
from autograder.grading.statistics import Exercise, nearest, statistics

pytestmark = pytest.mark.xdist_group("class")

LESSON = "00_small_leak"
LESSONS = Path(__file__).parent / "lessons_small"


@pytest.fixture
def coursedir(small_course):
    return CourseDirectory(config=small_course.config(LESSON))


def test_scores_reasons_and_known_mistakes_are_counted(small_course, coursedir):
    """Does each exercise show how the class did, what the checks said, and which known mistakes answers are like?"""
    (exercise,) = statistics(coursedir, LESSON, small_course.rows, LESSONS)
    told = exercise.to_json()
    right = sum(float(row["raw_score"] or 0) == 2 for row in small_course.rows.values())
    assert (told["exercise"], told["points"]) == ("totals", 2)
    assert (told["submissions"], told["right"]) == (len(small_course.rows), right)
    assert told["right"] + told["partial"] + told["wrong"] == told["submissions"]
    assert told["reasons"]["tampered"] == 2 and "keeps a graph" in " ".join(told["reasons"])
    known = {cell.name for cell in load(LESSONS / f"{LESSON}.py").exercises["totals"].wrong}
    assert told["like_known_mistake"] and set(told["like_known_mistake"]) <= known


def test_an_answer_is_compared_with_mistakes_that_fail_alike():
    """Is the nearest mistake one that fails with the same words, and none where nothing is alike?"""
    wrong = load(LESSONS / f"{LESSON}.py").exercises["totals"].wrong
    for mistake in wrong:
        words = mistake.options["expects"]
        found = nearest(f"# mine\n{mistake.source}\n\n", f"{words}: and more", wrong)
        same = {cell.name for cell in wrong if cell.options["expects"] in words}
        assert found in same
    assert nearest("import os", "something else entirely", wrong) == ""


def test_a_shared_class_has_no_names(small_course, coursedir, tmp_path):
    """Does no file, name or cell of a shared class show a student's id?"""
    students = [*small_course.rows]
    count = share(coursedir, LESSON, students, tmp_path / "shared", Anonymous(tmp_path / "key"))
    assert count == len(students)
    written = {path.name: path.read_text() for path in (tmp_path / "shared").iterdir()}
    assert len(written) == count + 1
    assert not any(student in name for student in students for name in written)
    points = written.pop("points.csv")
    assert points.count("\n") == count + 1 and not any(f"\n{student}," in points for student in students)
    for text in written.values():
        nbformat.validate(nbformat.reads(text, as_version=4))
    with pytest.raises(GradingFailed, match="expected an empty folder"):
        share(coursedir, LESSON, students, tmp_path / "shared", Anonymous(tmp_path / "key"))


def test_the_commands_print_them(small_course, tmp_path, capsys):
    """Do the commands work on a course's folder, for people and for machines?"""
    shutil.copytree(LESSONS, small_course.root / "lessons", dirs_exist_ok=True)
    command.show_statistics(str(small_course.root), LESSON, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["exercise"] == "totals"
    command.show_statistics(str(small_course.root), LESSON, as_json=False)
    assert "totals" in capsys.readouterr().out
    command.share(str(small_course.root), LESSON, str(tmp_path / "out"))
    assert "without names" in capsys.readouterr().out
    with pytest.raises(GradingFailed, match="no graded submission of 'other'"):
        command.show_statistics(str(small_course.root), "other", as_json=False)


def test_the_table_is_legible_on_a_narrow_terminal():
    """GIVEN 80 columns and long names WHEN the table is printed THEN no name is cut, and markup stays text."""
    reasons, mistakes = Counter({"not flat": 3, "[/b]": 1}), Counter({"on the CPU": 2})
    exercise = Exercise("fix_the_whole_loop", 3, [3.0, 1.0, 0.0, 0.0], reasons, mistakes)
    told = io.StringIO()
    Console(file=told, width=80).print(command._table([exercise], "ps1"))
    for text in ("fix_the_whole_loop", "1 / 1 / 2", "3 x not flat", "1 x [/b]", "2 x on"):
        assert text in told.getvalue()
