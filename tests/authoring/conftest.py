"""A course folder holding one tiny lesson, and a way to change a line of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SMALL = Path(__file__).parent / "lessons_small"
LESSON = "00_tiny_sum"


@pytest.fixture
def course(tmp_path):
    """A fresh folder with ``lessons/00_tiny_sum.py``."""
    (tmp_path / "lessons").mkdir()
    shutil.copy(SMALL / f"{LESSON}.py", tmp_path / "lessons")
    return tmp_path


@pytest.fixture
def lesson_file(course):
    """The lesson's source file."""
    return course / "lessons" / f"{LESSON}.py"


@pytest.fixture
def change(lesson_file):
    """Replace one passage of the lesson by another."""

    def replace(old: str, new: str) -> Path:
        text = lesson_file.read_text()
        assert text.count(old) >= 1, f"the lesson does not hold {old!r}"
        lesson_file.write_text(text.replace(old, new, 1))
        return lesson_file

    return replace
