"""Does the journal know what was solved, whatever happens to the notebook, the file or the kernel?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import autograder as ag
from autograder.errors import CheckFailed
from autograder.journal import standing, store, watching

LESSON, EXERCISE, CHECK = "01_accumulated_metrics", "fix_validate", "check-fix_validate"


def noted(journal, outcome, points, exercise=EXERCISE):
    store.append(journal, store.entry(LESSON, exercise, f"check-{exercise}", outcome, points))


def state_of(journal, exercise=EXERCISE):
    found = standing.progress(journal)
    return next((s.state, s.points) for s in found.standings if s.exercise == exercise)


def raising(error):
    def tried(*_arguments):
        raise error

    return tried


# What a run of a check comes to


def test_a_failing_check_is_an_attempt(run_check, journal):
    """GIVEN a check that fails, in part or wholly, THEN the exercise is attempted, and the best points are kept."""
    run_check(raising(CheckFailed("not flat")))
    assert state_of(journal) == ("attempted", 0)


def test_a_check_with_all_its_points_solves_and_stays_solved(run_check, journal):
    """GIVEN a solved exercise WHEN it fails after an edit THEN it says so, and the points stay."""
    run_check(value=1)
    assert state_of(journal) == ("attempted", 1)
    run_check()
    assert state_of(journal) == ("solved", 3)
    run_check(raising(CheckFailed("not flat")))
    assert state_of(journal) == ("solved before, failing now", 3)
    run_check()
    assert state_of(journal) == ("solved", 3)


def test_the_released_check_cell_is_known(shell, journal, check_source):
    """GIVEN the check as learners have it, spaces at its line ends aside, WHEN it fails THEN that is noted."""
    shell.user_ns.update(measure=raising(CheckFailed("not flat")), leaky_validate=None)
    shell.run_cell(check_source.replace("\n", "  \n") + "\n")
    assert state_of(journal) == ("attempted", 0)


@pytest.mark.parametrize("value", [True, "3", None, 3, 7.5])
def test_points_are_counted_as_nbgrader_counts_them(value):
    assert watching._points(value, 3) == 3


@pytest.mark.parametrize(("value", "points"), [(2, 2), (-1, 0), (float("nan"), 0), (1.5, 1.5)])
def test_a_plain_number_is_the_points(value, points):
    assert watching._points(value, 3) == points


def test_what_was_not_tried_is_not_noted(run_check, shell, journal, check_source):
    """GIVEN an empty stub, cells above that were not run, an interruption, an edited check, THEN nothing is noted."""
    shell.run_cell("def stub(*_):\n    raise NotImplementedError()")
    run_check(shell.user_ns["stub"])
    shell.user_ns.pop("tried")
    shell.run_cell("tried()\n3")
    shell.run_cell(check_source)
    run_check(raising(KeyboardInterrupt()))
    shell.run_cell(f"{check_source}\n'edited'")
    shell.run_cell("1 / 0")
    assert not journal.exists()


def test_a_name_missing_in_the_answer_is_an_attempt(run_check, shell, journal):
    """GIVEN an answer that uses a name it does not have WHEN checked THEN that is a failure like any other."""
    shell.run_cell("def typo(*_):\n    return lossses")
    run_check(shell.user_ns["typo"])
    assert state_of(journal) == ("attempted", 0)


def test_watching_twice_notes_once(run_check, journal):
    watching.watch(LESSON)
    run_check(raising(CheckFailed("not flat")))
    assert len(store.read(journal)[0]) == 1


def test_a_folder_that_cannot_be_written_costs_one_line(run_check, monkeypatch, capfd):
    """GIVEN a read-only folder WHEN checks run THEN one line on stdout says so, once, and nothing is on stderr."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store, "append", refuse)
    for _ in range(2):
        run_check(raising(KeyError("x")))
    said = capfd.readouterr()
    assert said.out.count("Your progress is not kept") == 1
    assert said.err == ""


def test_outside_a_notebook_nothing_is_noted(journal, tmp_path):
    """GIVEN plain Python, as in the judge, WHEN a lesson is set up and a check fails THEN no file appears."""
    code = (
        "import IPython, autograder as ag\nag.setup('01_accumulated_metrics')\n"
        "try: ag.check.same(1, 2)\nexcept AssertionError: print('failed')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True,
        env={**os.environ, "AUTOGRADER_DEVICE": "cpu"},
    )  # fmt: skip
    assert "failed" in result.stdout and result.stderr == ""
    assert list(tmp_path.rglob(".progress*")) == []


# The file


def test_the_journal_lies_with_the_work(tmp_path):
    """Is it found from a lesson's folder, from below, from a released notebook's folder, and from anywhere else?"""
    work = tmp_path / "my_work" / LESSON
    work.mkdir(parents=True)
    assert store.journal_near(work) == tmp_path / "my_work" / store.JOURNAL
    assert store.journal_near(tmp_path / "my_work") == tmp_path / "my_work" / store.JOURNAL
    assert store.journal_near(tmp_path / "notebooks" / LESSON, LESSON) == tmp_path / "notebooks" / store.JOURNAL
    assert store.journal_near(tmp_path / "content", LESSON) == tmp_path / "content" / store.JOURNAL


def test_two_notebooks_at_once_lose_nothing(journal):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda points: noted(journal, "failed", points / 1000), range(400)))
    entries, aside = store.read(journal)
    assert aside is None
    assert sorted(e.points for e in entries) == [points / 1000 for points in range(400)]


@pytest.mark.parametrize(
    "damage", [b"\x00\xff\x80garbage\n", b"[1, 2]\n", b'{"lesson": 1}\n', b"[" * 5000 + b"\n", b"{}\n"]
)
def test_a_damaged_journal_is_set_aside_and_what_is_readable_carried_over(journal, damage):
    noted(journal, "passed", 3)
    with journal.open("ab") as file:
        file.write(damage)
    noted(journal, "passed", 4, exercise="fix_trainer")
    before = journal.read_bytes()
    found = standing.progress(journal)
    assert found.aside.read_bytes() == before, "nothing is lost: the file as it was lies beside"
    assert str(found.aside) in repr(found)
    assert state_of(journal) == ("solved", 3)
    assert state_of(journal, "fix_trainer") == ("solved", 4)
    assert standing.progress(journal).aside is None, "the new journal is whole"


def test_a_line_that_was_cut_off_costs_only_itself(journal):
    """GIVEN a process that died while it wrote WHEN the next one writes THEN earlier and later lines are read."""
    noted(journal, "passed", 3)
    with journal.open("ab") as file:
        file.write(b'\n{"lesson": "01_acc')
    assert state_of(journal) == ("solved", 3)
    noted(journal, "failed", 1, exercise="fix_trainer")
    assert state_of(journal, "fix_trainer") == ("attempted", 1)
    assert state_of(journal) == ("solved", 3)


def test_two_damaged_journals_of_one_second_have_two_names(journal):
    asides = set()
    for _ in range(3):
        journal.write_text("broken\n")
        asides.add(standing.progress(journal).aside)
    assert len(asides) == 3


def test_a_reset_begins_anew(journal):
    noted(journal, "passed", 3)
    noted(journal, "reset", 0)
    assert state_of(journal) == ("untouched", 0)
    noted(journal, "failed", 1)
    assert state_of(journal) == ("attempted", 1)


# The table


def test_the_table_adds_up(journal):
    """GIVEN one exercise solved and one attempted WHEN shown THEN text and HTML name them, with points and totals."""
    noted(journal, "passed", 3)
    noted(journal, "failed", 2, exercise="fix_trainer")
    noted(journal, "passed", 9, exercise="of_another_course")
    found = standing.progress(journal)
    text, page = repr(found), found._repr_html_()
    row = next(line for line in text.splitlines() if "fix_trainer" in line)
    assert row.split()[-4:] == ["attempted", "2", "of", "4"]
    assert "1 of" in found.summary and "1 attempted" in found.summary and "; 5 of " in found.summary
    assert str(journal) in text
    assert "fix_validate" in page and ">solved<" in page and found.summary in page
    assert "of_another_course" not in text


def test_without_a_journal_everything_is_untouched(folder, capfd):
    """Does ag.progress() work on the first day, without a word on stderr?"""
    found = ag.progress()
    assert found.count("untouched") == len(found.standings) >= 5
    assert "noted from now on" in repr(found)
    assert not found.journal.exists()
    assert capfd.readouterr().err == ""


def test_every_check_of_the_course_is_known_by_its_released_source():
    """Do the fingerprints in the package's data match the notebooks that learners run?"""
    from autograder.journal.course import fingerprint, lessons
    from tests.journal.conftest import ROOT

    for lesson in lessons():
        notebook = json.loads((ROOT / "notebooks" / lesson.slug / f"{lesson.slug}.ipynb").read_text())
        shown = {c["metadata"].get("nbgrader", {}).get("grade_id"): "".join(c["source"]) for c in notebook["cells"]}
        assert [c.source for c in lesson.checks] == [fingerprint(shown[c.name]) for c in lesson.checks]
