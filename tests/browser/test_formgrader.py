"""A teacher's JupyterLab: does nbgrader's formgrader show a class that ``autograder grade`` graded, and regrade one?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from autograder.grading.course import Course
from autograder.grading.grade import Wishes, grade
from tests.browser.jupyterlab import PATIENCE, ROOT, SCREENSHOTS, _free_port
from tests.grading import plain_course
from tests.grading.plain_course import NAME, PARTLY, RIGHT, WRONG

OURS = """
c.Autograde.exporter_class = "autograder.grading.intake.AnyNotebook"
c.Autograde.autograde_preprocessors = [
    "autograder.grading.execution.FarmedExecute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
"""


@pytest.fixture
def graded(tmp_path):
    """A course folder with a graded class, one of whom handed in no notebook."""
    root = plain_course.make(tmp_path / "course")
    with (root / "nbgrader_config.py").open("a") as settings:
        settings.write(OURS)
    course = Course(root)
    course.generate_assignment(NAME)
    released = nbformat.read(root / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    for student, answer in (("ada", RIGHT), ("bob", WRONG), ("cem", PARTLY)):
        plain_course.hand_in(root, student, plain_course.answered(released, answer))
    plain_course.hand_in(root, "dia", b"{")
    grade(course, NAME, Wishes(workers=2))
    return root


@pytest.fixture
def formgrader(graded, tmp_path):
    """Address of the formgrader and the token, in a JupyterLab of the teacher's."""
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "IPYTHONDIR": str(tmp_path / "ipython"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={_free_port()}", "--allow-root"]
    process = subprocess.Popen(command, cwd=graded, env=environment, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        found = re.search(r"(http://localhost:\d+)/lab\?token=(\w+)", line)
        if found:
            break
    else:
        raise AssertionError("JupyterLab did not start")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    yield found.groups()
    process.terminate()
    process.wait(30)


def test_a_graded_class_is_shown_and_one_is_graded_again(formgrader, page):
    """GIVEN a graded class THEN the formgrader lists its scores and opens a submission; its button grades again."""
    address, token = formgrader
    page.goto(f"{address}/lab?token={token}")  # from here on a cookie says who we are
    page.goto(f"{address}/formgrader/gradebook/{NAME}/{NAME}")
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(4, timeout=PATIENCE)
    _look(page, "formgrader-gradebook")
    assert sorted(float(score) for score in _column(page, "Overall Score")) == [0.0, 2.5, 4.0, 6.0]
    page.goto(f"{address}/formgrader/manage_submissions/{NAME}")
    ada = page.locator("table tbody tr", has_text="ada").first
    expect(ada).to_contain_text("graded", timeout=PATIENCE)
    _look(page, "formgrader-submissions")
    ada.locator("td.autograde a").click()
    expect(page.locator(".modal.in, .modal.show").first).to_contain_text("Success", timeout=PATIENCE)
    _look(page, "formgrader-regraded")
    page.goto(f"{address}/formgrader/gradebook/{NAME}/{NAME}")
    expect(rows).to_have_count(4, timeout=PATIENCE)
    rows.first.locator("a").first.click()
    expect(page.locator("body")).to_contain_text("double", timeout=PATIENCE)
    _look(page, "formgrader-submission")


def _column(page, title: str) -> list[str]:
    titles = [head.inner_text().strip() for head in page.locator("table thead th").all()]
    at = next(number for number, text in enumerate(titles) if text.startswith(title))
    return [row.locator("td").nth(at).inner_text().split("/")[0] for row in page.locator("table tbody tr").all()]


def _look(page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(500)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
