"""Hints of the lesson at hand, one tier at each call: where to look, which concept, which call."""

from __future__ import annotations

import json
from collections import Counter
from difflib import get_close_matches
from pathlib import Path

from autograder.errors import SetupError

DATA = Path(__file__).with_name("data")
TIERS = ("where to look", "the concept", "the call")

_shown: Counter = Counter()


def hint(exercise: str, tier: int | None = None) -> None:
    """Print the next hint of an exercise of this lesson; ``tier`` (1 to 3) prints that one.

    Raises
    ------
    SetupError
        If ``setup()`` has not named a lesson yet, the lesson has no such exercise, or there is no such tier.
    """
    lesson, hints = _hints_of(exercise)
    if tier is None:
        tier = min(_shown[lesson, exercise] + 1, len(hints))
        _shown[lesson, exercise] = tier
    elif tier not in range(1, len(hints) + 1):
        raise SetupError(f"hint {exercise!r} has tiers 1 to {len(hints)}, found tier={tier!r}")
    more = f'Run it again for the next: ag.hint("{exercise}")' if tier < len(hints) else "That was the last hint."
    print(f"Hint {tier} of {len(hints)}, {TIERS[tier - 1]}:\n{hints[tier - 1]}\n\n{more}")


def _hints_of(exercise: str) -> tuple[str, list[str]]:
    from autograder.session import current_lesson

    lesson = current_lesson()
    if lesson is None:
        raise SetupError("no lesson yet: run the set-up cell at the top of the notebook first")
    path = DATA / f"{lesson}.json"
    exercises = json.loads(path.read_text(encoding="utf-8"))["exercises"] if path.exists() else {}
    if exercise not in exercises:
        nearest = get_close_matches(str(exercise), exercises, n=1, cutoff=0.3)
        advice = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(exercises) or 'none'}"
        raise SetupError(f"lesson {lesson} has no exercise {exercise!r}; {advice}")
    return lesson, exercises[exercise]["hints"]
