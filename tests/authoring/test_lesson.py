"""Reading a lesson source: what it holds, and how a fault is named."""

from __future__ import annotations

import pytest

from autograder.authoring.build import load
from autograder.authoring.lesson import parse
from autograder.errors import LessonError


def test_a_lesson_knows_its_parts(lesson_file):
    """Does the parsed lesson hold title, exercise, points, hints and fixtures?"""
    lesson = load(lesson_file)
    exercise = lesson.exercises["totals"]
    assert (lesson.slug, lesson.title, lesson.minutes) == ("00_tiny_sum", "A tiny lesson", 5)
    assert (exercise.points, exercise.exports) == (2, ("totals",))
    assert exercise.tiers == [
        "Look at what each element of the list drags along.",
        "A number needs no graph.",
        "Call `.item()`.",
    ]
    assert [cell.name for cell in exercise.right] == [
        "comprehension with float",
        "no_grad",
        "uses the demo and a magic",
    ]
    assert exercise.wrong[2].options["expects"] == "seven batches"


def test_a_setup_cell_may_also_be_called_given(change):
    """Is ``given="setup" setup=true`` the same as ``setup=true``?"""
    lesson = load(change("# %% setup=true", '# %% given="setup" setup=true'))
    assert [cell.kind for cell in lesson.cells][:3] == ["text", "setup", "given"]


def test_comments_may_be_text(change):
    """May a reflection be written as a code cell of comments, as hints are?"""
    lesson = load(change('# %% [markdown] reflect="own_code"', '# %% reflect="own_code"'))
    (cell,) = lesson.of_kind("reflect")
    assert (cell.markdown, cell.source) == (True, "Where does your own code keep a loss?")


FAULTS = {
    "unknown key": ('# %% given="batches"', '# %% givn="batches"', r"cell 3.*unknown key 'givn'.*did you mean 'given'"),
    "corrupt header": ('name="no_grad"', 'name="no_grad', r"cell \d+ \(line \d+\).*cannot read the cell header"),
    "words in the header": ("# %% setup=true", "# %% Set-up setup=true", "unknown key 'title'"),
    "two kinds": ('# %% given="batches"', '# %% given="batches" check="totals"', "one kind, found given and check"),
    "foreign key": ('# %% given="batches"', '# %% given="batches" points=2', "points does not belong on a given cell"),
    "a bad name": ('# %% exercise="totals"', '# %% exercise="My totals"', "is not a name"),
    "text points": ("points=2", 'points="two"', "points must be a number"),
    "a second exercise of that name": (
        '# %% check="totals" points=2',
        '# %% exercise="totals"\nx = 1\n\n# %% check="totals" points=2',
        "'totals' is already in cell 5",
    ),
    "a check without exercise": ('# %% check="totals"', '# %% check="total"', r"check 'total' has no exercise.*totals"),
    "no solution": ("### BEGIN SOLUTION", "pass", "do not pair up|no ### BEGIN SOLUTION"),
    "no end of solution": ("    ### END SOLUTION", "", "BEGIN SOLUTION and ### END SOLUTION do not pair up"),
    "a solution in a demo": (
        "def leaky(model, batches):",
        "### BEGIN SOLUTION\n### END SOLUTION\ndef leaky(model, batches):",
        "belong in exercise cells, not in a demo cell",
    ),
    "hidden tests beside code": ("### BEGIN HIDDEN TESTS", "x = 1 ### BEGIN HIDDEN TESTS", "alone on their line"),
    "two hint tiers": ("#\n# Call `.item()`.", "", "needs 3 hint tiers .*found 2"),
    "two right answers": ('# %% right="totals" name="no_grad"', "# %%", "at least 3 right fixtures, found 2"),
    "three wrong answers": ('# %% wrong="totals" name="constant" expects="wrong results"', "# %%", "at least 4 wrong"),
    "a fixture without name": (' name="constant"', "", 'no name="..."'),
    "two fixtures of one name": ('name="constant"', 'name="crashes"', "two fixtures.*'crashes'"),
    "a wrong answer without message": (' expects="wrong results"', "", "which message it expects"),
    "not Python": ("    return 1 / 0", "    return return", "line 2 of the cell is not Python"),
    "a code cell marked as text": ('# %% given="batches"', '# %% [markdown] given="batches"', "must be code"),
    "an answer that takes a given name": (
        'def totals(model, batches):\n    "',
        'Scale = 1\ndef totals(model, batches):\n    "',
        "redefines 'Scale'",
    ),
    "no set-up": ("# %% setup=true", "# %%", "exactly one set-up cell"),
    "no title": ("# title: A tiny lesson\n", "", "no title"),
    "odd minutes": ("# minutes: 5", "# minutes: soon", "minutes must be a whole number"),
    "unknown header entry": ("# minutes: 5", "# minutes: 5\n# author: me", "unknown header entry 'author'"),
    "broken YAML": ("# minutes: 5", "# minutes: [5", "not YAML"),
    "no header": ("# ---\n# title: A tiny lesson\n# minutes: 5\n# ---\n", "", "no header"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_place(change, fault):
    """GIVEN one fault, WHEN the lesson is loaded, THEN the message names file and reason."""
    old, new, said = FAULTS[fault]
    path = change(old, new)
    with pytest.raises(LessonError, match=rf"(?s)lessons/00_tiny_sum\.py.*({said})"):
        load(path)


def test_the_line_is_the_one_in_the_file(change):
    """Does the line number lead to the cell's own header?"""
    path = change('# %% given="batches"', '# %% givn="batches"')
    line = path.read_text().split("\n").index('# %% givn="batches"') + 1
    with pytest.raises(LessonError, match=rf"\(line {line}\)"):
        parse(path)


@pytest.mark.parametrize("name", ["tiny.py", "1_tiny.py", "00-tiny.py", "00_Tiny.py"])
def test_a_lesson_has_a_numbered_name(tmp_path, name):
    """Is a file that would sort anywhere refused?"""
    with pytest.raises(LessonError, match="NN_short_name"):
        parse(tmp_path / name)


def test_bytes_that_are_no_text(lesson_file):
    """GIVEN a file that is not UTF-8, THEN it is named, with the byte."""
    lesson_file.write_bytes(b"# ---\n# title: \xff\n# ---\n")
    with pytest.raises(LessonError, match="not UTF-8"):
        load(lesson_file)
