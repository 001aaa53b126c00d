"""``make check``: each way in which a lesson can be wrong is a fault with a name."""

from __future__ import annotations

import json

import pytest

from autograder.authoring import build, check, inspect
from autograder.authoring.build import load
from autograder.authoring.secrets import leaked, secret_lines
from autograder.errors import LessonError

NOTEBOOK = "notebooks/00_tiny_sum/00_tiny_sum.ipynb"


def quiet(_line: str) -> None:
    """Show nothing."""


def faults(course) -> str:
    """Build, inspect without running whole notebooks, and return the faults as one text."""
    build(course, progress=quiet)
    return "\n".join(inspect(course, progress=quiet, run_notebooks=False).faults)


def test_a_good_lesson_is_proved(course, change):
    """Does the tiny lesson pass every proof, nbgrader's own validator included, one line each?"""
    change("import autograder as ag", "class ag:\n    hint = staticmethod(print)")
    build(course, progress=quiet)
    lines = []
    report = check(course, progress=lines.append)
    assert report.ok
    assert report.proofs == 17
    assert sum(line.startswith("  ok") for line in lines) == 17
    assert any("stub of totals" in line for line in lines)
    assert any("validator passes it" in line for line in lines)


def test_fixtures_that_lie_are_faults(course, change):
    """GIVEN a right answer that fails, a wrong one that passes, and one with another message, THEN three faults."""
    change("    return [float(model(b).sum()) for b in batches]", "    return []")
    change("    return [0.0] * len(batches)", "    return [model(b).sum().item() for b in batches]")
    change('expects="ZeroDivisionError"', 'expects="not flat"')
    found = faults(course).split("\n")
    assert len(found) == 3
    assert "right answer to totals: comprehension with float: check-totals gives 0 of 2" in found[0]
    assert "wrong answer to totals: constant: passes, and must not" in found[1]
    assert "fails with another message: expected 'not flat', found: ZeroDivisionError" in found[2]


def test_a_stub_that_passes_and_an_answer_that_fails_are_faults(course, change):
    """GIVEN a solution region around nothing, and a hidden test that no answer passes, THEN both are named."""
    old = "    ### BEGIN SOLUTION\n    return [model(b).sum().item() for b in batches]\n    ### END SOLUTION"
    new = "    return [model(b).sum().item() for b in batches]\n    ### BEGIN SOLUTION\n    ### END SOLUTION"
    change(old, new)
    assert "stub of totals: passes, and must not" in faults(course)
    change("### END HIDDEN TESTS", "assert False, 'never'\n### END HIDDEN TESTS")
    assert "answers: check-totals gives 0 of 2: AssertionError: never" in faults(course)


def test_a_lesson_that_cannot_run_is_one_fault(course, change):
    """GIVEN a given cell that fails, THEN one fault names it, instead of one per fixture."""
    change("class Scale(torch.nn.Module):", "1 / 0\nclass Scale(torch.nn.Module):")
    found = faults(course)
    assert found.count("\n") == 0
    assert "given-batches" in found and "ZeroDivisionError" in found


def test_drift_is_a_fault(course, change, monkeypatch):
    """GIVEN an edited notebook, a missing one and a leftover, THEN each is named."""
    monkeypatch.setattr("autograder.authoring.verify._fixtures", lambda *a: None)
    build(course, progress=quiet)
    path = course / NOTEBOOK
    path.write_text(path.read_text().replace("running total", "walking total"))
    (course / "solutions/00_tiny_sum/00_tiny_sum.ipynb").unlink()
    gone = course / "autograder/data/09_gone.json"
    gone.write_text('{"generated": "Generated from lessons/09_gone.py"}')
    found = "\n".join(inspect(course, progress=quiet, run_notebooks=False).faults)
    assert f"{NOTEBOOK}: differs from lessons/00_tiny_sum.py" in found
    assert "solutions/00_tiny_sum/00_tiny_sum.ipynb: missing" in found
    assert "autograder/data/09_gone.json: its lesson is gone" in found


def test_faults_are_raised_together(course, monkeypatch):
    """Does check() end with every fault in one error?"""
    monkeypatch.setattr("autograder.authoring.verify._fixtures", lambda *a: None)
    with pytest.raises(LessonError, match=r"(?s)check found 3 faults:.*solutions.*notebooks.*data"):
        check(course, progress=quiet, run_notebooks=False)


@pytest.mark.parametrize(
    "shown",
    ['assert len(totals(Scale(), make_batches(7, seed=5))) == 7, "wrong results: seven batches"', "### BEGIN SOLUTION"],
)
def test_secrets_in_a_published_file_are_found(course, lesson_file, shown):
    """GIVEN a hidden test or a marker in some nested text of a file, THEN it is found; a shown line is no secret."""
    lesson = load(lesson_file)
    path = course / "published.json"
    path.write_text(json.dumps({"cells": [{"source": ["    " + shown + "\n", "x = 1\n"]}]}))
    assert leaked(lesson, path) != []
    path.write_text(json.dumps({"cells": [{"source": ["def totals(model, batches):\n"]}]}))
    assert leaked(lesson, path) == []


def test_secret_lines_are_answers_hidden_tests_and_fixtures(lesson_file):
    """Which lines of the lesson may not be seen?"""
    secret = secret_lines(load(lesson_file))
    assert "return [model(b).sum().item() for b in batches]" in secret
    assert "return [0.0] * len(batches)" in secret
    assert "def totals(model, batches):" not in secret
