"""Chromium and a JupyterLab for the tests of this folder; all of them run in one worker, one after the other."""

import shutil

import pytest

from tests.browser.jupyterlab import CHROMIUM_OPTIONS, ROOT, Lab, Notebook, find_chromium


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def chromium():
    path = find_chromium()
    if path is None:
        pytest.skip(
            "NOT SEEN IN A BROWSER: no Chromium here. Install it (Debian: apt install chromium) or set CHROMIUM"
        )
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture
def start_lab():
    """Start JupyterLab on a course's folder; stopped after the test."""
    labs = []

    def start(course):
        labs.append(Lab(course))
        return labs[-1]

    yield start
    for lab in labs:
        lab.stop()


@pytest.fixture
def open_lesson(tmp_path, page, start_lab):
    """Open a released lesson in a learner's fresh copy of the course."""

    def open_notebook(name):
        shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
        return Notebook(page, start_lab(tmp_path), f"{name}/{name}.ipynb")

    return open_notebook
