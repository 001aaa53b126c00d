"""Moodle and Canvas: their archives come in by ``nbgrader zip_collect``, grades go out by ``nbgrader export``."""

from __future__ import annotations

import csv
import json
import zipfile

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import ZipCollectApp
from traitlets.config import Config

from autograder.grading.course import Course, ready_for_nbgrader
from autograder.grading.lms.collecting import CanvasCollector, MoodleCollector
from autograder.grading.lms.exporting import CanvasExporter, MoodleExporter
from benchmarks.classroom.gradebooks import sqlite
from tests.grading import plain_course
from tests.grading.plain_course import NAME

ARCHIVES = {
    "moodle folders": (
        MoodleCollector,
        {"Ada Lovelace_1001_assignsubmission_file_/ps1.ipynb": "1001", "Zoë Müller_1002_assignsubmission_file_/ps1.ipynb": "1002"},
    ),
    "moodle flat": (
        MoodleCollector,
        {"Ada Lovelace_1001_assignsubmission_file_ps1.ipynb": "1001", "Al Gore_1003_assignsubmission_file_ps1 (1).ipynb": "1003"},
    ),
    "canvas": (
        CanvasCollector,
        {"lovelaceada_2001_77_ps1.ipynb": "2001", "gorealbert_LATE_2003_79_ps1-2.ipynb": "2003"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = plain_course.make(tmp_path_factory.mktemp("lms") / "course")
    Course(root).generate_assignment(NAME)
    return root


@pytest.mark.parametrize("archive", ARCHIVES)
def test_an_archive_is_collected(course, archive, tmp_path, monkeypatch):
    """GIVEN a downloaded archive WHEN zip_collect runs THEN each student's notebook lies where nbgrader grades it."""
    collector, members = ARCHIVES[archive]
    folder = tmp_path / "downloaded" / NAME / "archive"
    folder.mkdir(parents=True)
    released = nbformat.read(course / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    with zipfile.ZipFile(folder / "all.zip", "w") as file:
        for member in members:
            file.writestr(member, json.dumps(released))
        file.writestr("readme.txt", "not a submission")
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.release_directory = str(course / "release")
    config.ZipCollectApp.collector_plugin = collector
    monkeypatch.chdir(tmp_path)
    app = ZipCollectApp(config=config)
    with ready_for_nbgrader():
        app.initialize([NAME])
        app.start()
    collected = {path.parent.parent.name: path.name for path in tmp_path.glob(f"submitted/*/{NAME}/*")}
    assert collected == dict.fromkeys(members.values(), f"{NAME}.ipynb")


def test_a_file_named_otherwise_is_left_out():
    """Is what the system did not name itself skipped, not guessed at?"""
    assert MoodleCollector().collect("/x/ps1.ipynb") is None
    assert CanvasCollector().collect("/x/ps1.ipynb") is None
    assert CanvasCollector().collect("/x/lovelaceada_2001_77_notes.txt") is None


def test_moodles_worksheet_tells_who_a_participant_is(tmp_path):
    """GIVEN a worksheet beside the archive WHEN a file is collected THEN the id is an address, always the same."""
    folder = tmp_path / NAME / "extracted" / "all"
    folder.mkdir(parents=True)
    sheet = "\ufeffIdentifier,Full name,Email address,Status\nParticipant 1001,Ada,ada@example.org,Submitted\n"
    (tmp_path / NAME / "Grades-ps1.csv").write_text(sheet, encoding="utf-8")
    ids = [
        MoodleCollector().collect(str(folder / f"{who}_assignsubmission_file_" / "ps1.ipynb"))["student_id"]
        for who in ("Ada_1001", "Bob_1002")
    ]
    assert ids == ["ada@example.org", "1002"]


@pytest.fixture
def gradebook(course):
    """Two students, one of whom handed in, late."""
    with ready_for_nbgrader(), Gradebook(sqlite(course)) as book:
        book.update_or_create_student("2001", first_name="Ada", last_name="Lovelace", email="ada@example.org")
        book.update_or_create_student("bob")
        book.update_or_create_submission(NAME, "2001")
        for grade in book.find_submission(NAME, "2001").notebooks[0].grades:
            grade.auto_score = grade.max_score_gradecell
        book.find_submission(NAME, "2001").notebooks[0].late_submission_penalty = 1.5
        book.db.commit()
        yield book


def table(exporter, gradebook, path) -> list[list[str]]:
    exporter.to = str(path)
    exporter.export(gradebook)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_moodle_can_import_the_grades(gradebook, tmp_path):
    """Does each row identify its student, with the penalty taken off and nothing for those who handed nothing in?"""
    assert table(MoodleExporter(), gradebook, tmp_path / "m.csv") == [
        ["ID number", "First name", "Surname", "Email address", NAME],
        ["bob", "", "", "", ""],
        ["2001", "Ada", "Lovelace", "ada@example.org", "5.5"],
    ]


def test_an_id_that_is_an_address_identifies_for_moodle(gradebook, tmp_path):
    """GIVEN a student known by email address WHEN grades go to Moodle THEN the address is where Moodle looks for it."""
    gradebook.add_student("zoe@example.org")
    rows = table(MoodleExporter(student=["zoe@example.org"]), gradebook, tmp_path / "m.csv")
    gradebook.remove_student("zoe@example.org")
    assert rows[1] == ["zoe@example.org", "", "", "zoe@example.org", ""]


def test_canvas_can_import_the_grades(gradebook, tmp_path):
    """Does the table have Canvas's columns, its points row, and the assignment's id where it is known?"""
    exporter = CanvasExporter(ids={NAME: 4711}, section="A")
    assert table(exporter, gradebook, tmp_path / "c.csv") == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"{NAME} (4711)"],
        ["    Points Possible", "", "", "", "", "7"],
        ["bob", "", "", "bob", "A", ""],
        ["Lovelace, Ada", "2001", "", "", "A", "5.5"],
    ]


def test_one_assignment_or_student_can_be_exported(gradebook, tmp_path):
    """Do nbgrader's own filters hold?"""
    assert len(table(CanvasExporter(student=["bob"]), gradebook, tmp_path / "b.csv")) == 3
    assert table(MoodleExporter(assignment=["other"]), gradebook, tmp_path / "o.csv")[0][-1] == "Email address"
