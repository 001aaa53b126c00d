"""The journal on disk: one line of JSON per event, only ever appended to.

Appending one short line is a single write, so two notebooks may do it at once and an interruption loses at most the
line being written. What cannot be read is set aside under another name, and the lines that can be are carried over.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

FOLDER = "my_work"
JOURNAL = ".progress.jsonl"
OUTCOMES = ("passed", "failed", "reset")


class Entry(NamedTuple):
    """One check that ran (``passed`` or ``failed``, with the points it gave), or an exercise that was reset."""

    lesson: str
    exercise: str
    check: str
    outcome: str
    points: float
    when: str


def entry(lesson: str, exercise: str, check: str, outcome: str, points: float = 0) -> Entry:
    """Return an entry of this moment."""
    return Entry(lesson, exercise, check, outcome, points, now())


def now() -> str:
    """Return the local time with its zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def journal_near(folder: Path, lesson: str | None = None) -> Path:
    """Return the journal's path for work in ``folder``.

    It lies in ``my_work/`` if the folder is in one, else beside the folder of the lesson (a released notebook opened
    where it lies, as on Binder), else in the folder itself (Colab).
    """
    folder = Path(folder).resolve()
    for place in (folder, *folder.parents):
        if place.name == FOLDER or (place / JOURNAL).exists():
            return place / JOURNAL
    return (folder.parent if folder.name == lesson else folder) / JOURNAL


def append(path: Path, *entries: Entry) -> None:
    """Add entries. Raises OSError where the folder cannot be written to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"\n{json.dumps(entry._asdict())}\n" for entry in entries)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def read(path: Path) -> tuple[list[Entry], Path | None]:
    """Return the entries, oldest first, and where a journal that was partly unreadable was put aside.

    A last line without its end is being written, or was cut off; it is left for the next look.
    """
    entries, spoilt = _parse(path)
    if not spoilt:
        return entries, None
    aside = _free_name(path)
    try:
        os.rename(path, aside)
    except OSError:
        return entries, None
    entries, _ = _parse(aside)
    if entries:
        append(path, *entries)
    return entries, aside


def _parse(path: Path) -> tuple[list[Entry], bool]:
    try:
        *lines, _unfinished = path.read_bytes().split(b"\n")
    except OSError:
        return [], False
    found = [_entry_of(line) for line in lines if line.strip()]
    return [entry for entry in found if entry], None in found


def _entry_of(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (entry.lesson, entry.exercise, entry.check, entry.outcome, entry.when)
    is_number = type(entry.points) in (int, float)
    return entry if is_number and all(type(text) is str for text in texts) and entry.outcome in OUTCOMES else None


def _free_name(path: Path) -> Path:
    stamp, count = datetime.now().strftime("%Y%m%d-%H%M%S"), 1
    aside = path.with_name(f"{path.name}.unreadable-{stamp}")
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.unreadable-{stamp}-{count}")
    return aside
