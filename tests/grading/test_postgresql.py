"""The gradebook in PostgreSQL: a real server, started by the test, gets the same rows as SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from autograder.grading.course import Course
from autograder.grading.grade import Wishes, grade
from benchmarks.classroom.gradebooks import differences, sqlite
from tests.grading import plain_course
from tests.grading.plain_course import NAME, PARTLY, RIGHT, WRONG

pytest.importorskip("psycopg")
pytestmark = pytest.mark.xdist_group("any course")
NOT_AS_ROOT = "postgres"
"""The user that Debian's package makes; the server refuses to run as root."""


def _tools() -> Path | None:
    """Where Debian keeps the server's own commands."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return found[-1].parent if found else None


def _as_server(command: list[str], folder: Path) -> None:
    prefix = ["setpriv", f"--reuid={NOT_AS_ROOT}", f"--regid={NOT_AS_ROOT}", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def server(tmp_path_factory):
    """The address of an empty database."""
    tools = _tools()
    if tools is None or (os.geteuid() == 0 and not shutil.which("setpriv")):
        pytest.skip("NOT PROVED WITH POSTGRESQL: no server here; install Debian's package postgresql")
    folder = Path("/tmp") / f"pg-{os.getpid()}"
    folder.mkdir(mode=0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, NOT_AS_ROOT, NOT_AS_ROOT)
    data = folder / "data"
    try:
        _as_server([str(tools / "initdb"), "-D", str(data), "-U", "teacher", "-A", "trust", "-E", "UTF8"], folder)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        log = str(folder / "log")
        _as_server([str(tools / "pg_ctl"), "-D", str(data), "-o", options, "-l", log, "-w", "start"], folder)
        try:
            _as_server([str(tools / "createdb"), "-h", str(folder), "-U", "teacher", "grades"], folder)
            yield f"postgresql+psycopg://teacher@/grades?host={folder}"
        finally:
            _as_server([str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_gets_the_rows_that_sqlite_gets(server, tmp_path):
    """GIVEN one class WHEN it is released and graded into both THEN every row is the same."""
    root = plain_course.make(tmp_path / "lite")
    other = plain_course.make(tmp_path / "post")
    for folder, db in ((root, ""), (other, server)):
        course = Course(folder, db)
        course.generate_assignment(NAME)
        released = nbformat.read(folder / "release" / NAME / f"{NAME}.ipynb", as_version=4)
        for student, answer in (("ada", RIGHT), ("bob", WRONG), ("zoë", PARTLY)):
            plain_course.hand_in(folder, student, plain_course.answered(released, answer))
        summary = grade(course, NAME, Wishes(workers=2))
        assert [(o.student, o.score) for o in summary.outcomes] == [("ada", 6.0), ("bob", 2.5), ("zoë", 4.0)]
    assert differences(sqlite(root), server) == []
    assert not (other / "gradebook.db").exists()
