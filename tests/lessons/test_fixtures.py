"""Every lesson of the course, proved: files up to date, stubs fail, answers score, fixtures come out as they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.authoring import inspect

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.stem for path in (ROOT / "lessons").glob("*.py"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_lesson_is_proved(lesson):
    """Does ``make check`` find no fault in this lesson?"""
    report = inspect(ROOT, [lesson])
    assert report.faults == []
    assert report.proofs > 10
