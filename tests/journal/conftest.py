"""A notebook's shell in a learner's folder, with the lesson's set-up done."""

from __future__ import annotations

import json
from pathlib import Path

import IPython
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from autograder.journal import watching
from autograder.journal.course import CheckCell, fingerprint

ROOT = Path(__file__).resolve().parents[2]
LESSON = "01_accumulated_metrics"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """``my_work/01_accumulated_metrics``, where the notebook runs."""
    place = tmp_path / "my_work" / LESSON
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def journal(folder):
    return folder.parent / ".progress.jsonl"


@pytest.fixture
def shell(folder, monkeypatch):
    """IPython without history, watched for lesson 01."""
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(watching, "_complained", False)
    watching.watch(LESSON)
    return shell


@pytest.fixture(scope="session")
def check_source():
    """The check cell of fix_validate as learners have it."""
    notebook = json.loads((ROOT / "notebooks" / LESSON / f"{LESSON}.ipynb").read_text())
    return next("".join(c["source"]) for c in notebook["cells"] if c["id"] == "check-fix_validate")


@pytest.fixture
def run_check(shell):
    """Run a cell that is a check worth 3 points; ``tried`` is what the learner wrote, ``value`` its last expression."""

    def run(tried=lambda: None, value=3):
        shell.user_ns["tried"] = tried
        source = f"tried()\n{value}"
        watching._checks[fingerprint(source)] = CheckCell("check-fix_validate", "fix_validate", 3, "")
        return shell.run_cell(source)

    return run
