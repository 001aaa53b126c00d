"""The files of a run: JSON Lines, one per part, written line by line so that a run cut short keeps what it had.

A line is ``{"about": ...}``, ``{"item": ..., "name": ..., "value": ...}`` or ``{"item": ..., "end": true, ...}``.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

MOST_BYTES = 15 << 20
"""No file grows beyond this; what a lent machine gives back may be limited to 16 MiB a file."""
_ROOM_FOR_ENDS = 1 << 18
SUMMARY = "summary.json"


class PartFile:
    """One part's file, open for appending. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self.path, self.dropped = path, 0
        self._lock = threading.Lock()
        self._size = _cut_half_a_line(path)
        self._file = path.open("ab")

    def add(self, line: dict) -> bool:
        """Write one line at once; False, and nothing written, where the file would become too large."""
        text = json.dumps(line).encode() + b"\n"
        with self._lock:
            most = MOST_BYTES if "end" in line or "about" in line else MOST_BYTES - _ROOM_FOR_ENDS
            if self._size + len(text) > most:
                self.dropped += 1
                return False
            self._file.write(text)
            self._file.flush()
            self._size += len(text)
            return True

    def close(self) -> None:
        self._file.close()


def _cut_half_a_line(path: Path) -> int:
    """Drop what a killed run left of its last line; returns the size."""
    if not path.exists():
        return 0
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if kept != whole:
        path.write_bytes(kept)
    return len(kept)


def read(path: Path) -> list[dict]:
    """The whole lines of a part's file; empty where there is none."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in found if isinstance(line, dict)]


def values(path: Path, complete: bool = True) -> dict[str, object]:
    """Name to value of everything recorded; with ``complete``, of those items alone that ended without an error."""
    lines = read(path)
    good = {line["item"] for line in lines if line.get("end") and not line.get("error")}
    return {line["name"]: line["value"] for line in lines if "value" in line and (line["item"] in good or not complete)}


def ended(path: Path) -> dict[str, dict]:
    """Item to its last line, for every item that came to an end, with or without an error."""
    return {line["item"]: line for line in read(path) if line.get("end")}


def about(path: Path) -> dict:
    """The machine that a part's file was recorded on; empty if the part did not begin."""
    return next((line["about"] for line in read(path) if "about" in line), {})
