"""The hint ladder: one tier at each call."""

from __future__ import annotations

import json

import pytest

from autograder import hints, session
from autograder.errors import SetupError


@pytest.fixture(autouse=True)
def small_lesson(tmp_path, monkeypatch):
    """A lesson with one exercise of three tiers."""
    data = {"exercises": {"fix_total": {"points": 2, "hints": ["look here", "think so", "call this"]}}}
    (tmp_path / "00_small.json").write_text(json.dumps(data))
    monkeypatch.setattr(hints, "DATA", tmp_path)
    monkeypatch.setattr(session, "_lesson", "00_small")
    hints._shown.clear()


def test_each_call_gives_the_next_tier(capsys):
    """GIVEN three tiers, WHEN called four times, THEN each is shown once, and the last again."""
    for _ in range(4):
        hints.hint("fix_total")
    out = capsys.readouterr().out
    assert [out.count(text) for text in ("look here", "think so", "call this")] == [1, 1, 2]
    assert out.index("where to look") < out.index("the concept") < out.index("the call")


def test_a_tier_may_be_named(capsys):
    """Does tier=2 show the second without moving the ladder?"""
    hints.hint("fix_total", tier=2)
    hints.hint("fix_total")
    assert "Hint 2 of 3, the concept:\nthink so" in capsys.readouterr().out.split("Hint 1 of 3")[0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: hints.hint("fix_totl"), "did you mean 'fix_total'"),
        (lambda: hints.hint("zzz"), "there are: fix_total"),
        (lambda: hints.hint("fix_total", tier=4), "tiers 1 to 3"),
    ],
)
def test_a_wrong_name_is_helped(call, said):
    """Does a wrong name or tier say what there is?"""
    with pytest.raises(SetupError, match=said):
        call()


def test_without_a_lesson_it_says_what_to_run(monkeypatch):
    """GIVEN no set-up cell was run, THEN the message says so."""
    monkeypatch.setattr(session, "_lesson", None)
    with pytest.raises(SetupError, match="set-up cell"):
        hints.hint("fix_total")
