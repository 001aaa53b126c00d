"""Environment variables that are set for a while come back as they were."""

import os

import pytest

from autograder.host import environment


def test_variables_come_back(monkeypatch):
    """GIVEN one variable that was set and one that was not WHEN a block with both fails THEN both are as before."""
    monkeypatch.setenv("COURSE_A", "old")
    monkeypatch.delenv("COURSE_B", raising=False)
    with pytest.raises(ValueError), environment(COURSE_A="new", COURSE_B="new"):
        assert (os.environ["COURSE_A"], os.environ["COURSE_B"]) == ("new", "new")
        raise ValueError
    assert os.environ["COURSE_A"] == "old"
    assert "COURSE_B" not in os.environ
