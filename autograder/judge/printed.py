"""What the instructor's code prints while a check runs: why an answer earned a part of the points.

Answers print too, so a line counts only if the code that printed it is the instructor's or this package's. An answer that
calls a check itself can put a line in; it changes words, never a score.
"""

from __future__ import annotations

import io
import os
import re
import sys

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MOST_CHARACTERS = 10_000
_REASON = re.compile(r"\bpoints?: ")
"""How checks begin to say what is still wrong: "3 of 4 points: ..."."""


class Printed(io.TextIOBase):
    """Standard output that keeps what the instructor's code says, and drops the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._files: frozenset[str] = frozenset()
        self._kept: list[str] = []
        self._characters = 0

    def listen(self, files: frozenset[str]) -> None:
        """Keep from now on what code of these files prints."""
        self._files, self._kept, self._characters = files, [], 0

    def reason(self) -> str:
        """Return the lines that tell points and why, each once, as one text, empty if there are none; stop to keep."""
        lines = [line.strip() for line in "".join(self._kept).splitlines() if _REASON.search(line)]
        self.listen(frozenset())
        return "; ".join(dict.fromkeys(lines))

    def writable(self) -> bool:
        """Yes; to whoever asks."""
        return True

    def write(self, text: str) -> int:
        """Take a text from ``print()``, whose caller is the next frame."""
        if self._files and self._characters < _MOST_CHARACTERS:
            filename = sys._getframe(1).f_code.co_filename
            if filename in self._files or filename.startswith(_OURS):
                self._characters += len(text)
                self._kept.append(text)
        return len(text)
