"""A word to the learner beside PyTorch's own message, where that message points the wrong way."""

from __future__ import annotations

import sys

_SECOND_BACKWARD = "backward through the graph a second time"
_KEPT_HISTORY = (
    "Part of what is carried from step to step still has its history; do not follow the advice to retain the graph."
)
_SHOWS_NOTES = (8, 14)
"""IPython's version from which a notebook shows an exception's notes."""


def advise(error: BaseException | None) -> None:
    """Add a note to the error of a second backward through one graph; other errors stay as they are.

    Where notes do not exist (Python 3.10) or are not shown (an older IPython), the message itself is extended.
    """
    if not isinstance(error, RuntimeError) or _SECOND_BACKWARD not in str(error):
        return
    if _notes_are_shown():
        error.add_note(_KEPT_HISTORY)
    else:
        error.args = (f"{error}\n{_KEPT_HISTORY}",)


def _notes_are_shown() -> bool:
    ipython = sys.modules.get("IPython")
    return hasattr(BaseException, "add_note") and (ipython is None or ipython.version_info[:2] >= _SHOWS_NOTES)
