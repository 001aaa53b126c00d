"""A Dask cluster executes: a real scheduler and two worker processes on loopback, one of which is killed in the middle."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from autograder.errors import GradingFailed
from autograder.grading.course import Course
from autograder.grading.engines import engine_for
from autograder.grading.grade import Wishes, grade
from benchmarks.classroom.gradebooks import differences, sqlite
from tests.grading import plain_course
from tests.grading.plain_course import NAME, RIGHT, WRONG

pytest.importorskip("distributed")
pytestmark = pytest.mark.xdist_group("any course")
ROOT = Path(__file__).resolve().parents[2]
SLOW = "import time\ntime.sleep(0.4)\n"


def _dask(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.fixture
def cluster():
    """A scheduler's address and its two worker processes, one thread each."""
    scheduler = _dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
    address = ""
    while not address:
        line = scheduler.stderr.readline()
        assert line, "the scheduler ended"
        found = re.search(r"tcp://127\.0\.0\.1:\d+", line)
        address = found.group() if found else ""
    options = (address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--memory-limit", "0")
    workers = [_dask("worker", *options) for _ in range(2)]
    everyone = [scheduler, *workers]
    for process in everyone:
        threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        _wait_for_workers(address, 2)
        yield address, workers
    finally:
        for process in everyone:
            _end(process)


def _wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    process.wait()


def test_a_killed_worker_loses_nothing(cluster, tmp_path):
    """GIVEN a worker killed in the middle THEN everyone is graded once, as on this machine alone."""
    address, workers = cluster
    root = plain_course.make(tmp_path / "course")
    Course(root).generate_assignment(NAME)
    released = nbformat.read(root / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    students = [f"student{number}" for number in range(8)]
    for number, student in enumerate(students):
        answer = SLOW + (RIGHT if number % 2 else WRONG)
        plain_course.hand_in(root, student, plain_course.answered(released, answer))
    here = Path(shutil.copytree(root, tmp_path / "here"))

    def kill_one_soon():
        deadline = time.monotonic() + 120
        while not list(root.glob("autograded/*/*/*.ipynb")) and time.monotonic() < deadline:
            time.sleep(0.02)
        _end(workers[0])

    killer = threading.Thread(target=kill_one_soon)
    killer.start()
    summary = grade(Course(root), NAME, Wishes(scheduler=address))
    killer.join()
    assert workers[0].returncode is not None and workers[1].poll() is None
    assert "2 Dask worker threads" in summary.place
    assert [o.student for o in summary.outcomes] == students and summary.status == 0
    grade(Course(here), NAME, Wishes(workers=2))
    assert differences(sqlite(here), sqlite(root)) == []


def test_an_address_without_a_scheduler_is_one_sentence(monkeypatch):
    """Does a wrong address say what was expected, soon?"""
    monkeypatch.setattr("autograder.grading.engines.cluster._SECONDS_TO_CONNECT", 1)
    with pytest.raises(GradingFailed, match=r"expected a Dask scheduler at 'tcp://127\.0\.0\.1:9'"):
        engine_for(scheduler="tcp://127.0.0.1:9")


def test_an_address_without_a_port_is_one_sentence():
    """GIVEN an address that Dask could not even dial WHEN grading starts THEN the message shows what one looks like."""
    with pytest.raises(GradingFailed, match=r"such as tcp://host:8786, got 'foo'"):
        engine_for(scheduler="foo")
