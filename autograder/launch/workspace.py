"""The learner's own copies in ``my_work/``: filled from ``notebooks/``, never overwritten.

``my_work/.released.json`` remembers, for each copied file, the fingerprint of the release it came from.
A file that still has that fingerprint holds no work and follows the course; any other file is the learner's.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from autograder.errors import LaunchError
from autograder.journal.store import FOLDER
from autograder.launch.course import released_lessons

RECORD = ".released.json"


@dataclass
class Report:
    """What :func:`prepare` did: names of files, relative to ``my_work/``."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say it in words; nothing to say is no line."""
        lines = []
        if self.added:
            lines.append(f"Added to {FOLDER}/: {', '.join(self.added)}")
        if self.updated:
            lines.append(f"Brought up to date (you had not changed them): {', '.join(self.updated)}")
        for name in self.newer:
            lesson = name.split("/")[0]
            lines.append(
                f"Kept your {name}; the course has a newer one: make fetch LESSON={lesson} puts it beside yours"
            )
        return lines


def prepare(root: Path) -> Report:
    """Give the learner every released file that is not in ``my_work/`` yet; keep all that was changed."""
    work = root / FOLDER
    work.mkdir(exist_ok=True)
    record = _read_record(work)
    report = Report()
    for name, source in _released_files(root):
        target, released = work / name, source.read_bytes()
        if not os.path.lexists(target):
            _write_new(target, released)
            report.added.append(name)
        elif target.read_bytes() == released:
            pass
        elif _fingerprint(target.read_bytes()) == record.get(name):
            replace(target, released)
            report.updated.append(name)
        elif record.get(name) == _fingerprint(released):
            continue
        else:
            report.newer.append(name)
            continue
        record[name] = _fingerprint(released)
    _write_record(work, record)
    return report


def fetch(root: Path, lesson: str) -> Path:
    """Put the course's notebook beside the learner's as ``NAME.new.ipynb`` and return its path.

    Raises
    ------
    LaunchError
        No lesson has that name.
    """
    name = find_lesson(root, lesson)
    work = root / FOLDER
    relative = f"{name}/{name}.ipynb"
    released = (root / "notebooks" / relative).read_bytes()
    target = _free_name(work / name / f"{name}.new.ipynb", released)
    if not target.exists():
        _write_new(target, released)
    record = _read_record(work)
    record[relative] = _fingerprint(released)
    _write_record(work, record)
    return target


def find_lesson(root: Path, lesson: str) -> str:
    """Return the lesson's full name, given it or its number; suggest the nearest otherwise."""
    names = list(released_lessons(root))
    matches = [name for name in names if lesson and (name == lesson or name.split("_")[0] == lesson)]
    if matches:
        return matches[0]
    near = get_close_matches(lesson, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(names)}"
    raise LaunchError(f"expected the name of a lesson, found {lesson!r}: {hint}")


def _released_files(root: Path):
    """Yield (name relative to ``notebooks/``, path) of every file of every released lesson."""
    for folder in released_lessons(root).values():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and ".ipynb_checkpoints" not in path.parts:
                yield path.relative_to(root / "notebooks").as_posix(), path


def _free_name(target: Path, content: bytes) -> Path:
    """Return the first name of NAME.new.ipynb, NAME.new2.ipynb, ... that is free or already holds the content."""
    stem, count = target.name.removesuffix(".ipynb"), 1
    while os.path.lexists(target) and target.read_bytes() != content:
        count += 1
        target = target.with_name(f"{stem}{count}.ipynb")
    return target


def _write_new(target: Path, content: bytes) -> None:
    """Write a file that must not exist: mode ``x`` refuses to overwrite whatever appears meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "xb") as file:
        file.write(content)


def replace(target: Path, content: bytes) -> None:
    """Swap a file's content in one step, so that an interruption leaves the old or the new one whole."""
    draft = target.with_name(target.name + ".part")
    draft.write_bytes(content)
    os.replace(draft, target)


def _fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(work: Path) -> dict[str, str]:
    """Return the fingerprints; a lost or spoilt record only means that every file counts as the learner's."""
    try:
        record = json.loads((work / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(work: Path, record: dict[str, str]) -> None:
    work.mkdir(exist_ok=True)
    replace(work / RECORD, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
