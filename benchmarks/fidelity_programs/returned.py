"""A folder that ``benchmarks/on_gpu.py`` filled, as recordings that can be compared and kept."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.fidelity_programs import recording
from benchmarks.gpu_run import results
from benchmarks.gpu_run.parts import BY_NAME


def about(folder: Path) -> dict:
    """The GPU and the versions. Raises ValueError if nothing came back."""
    for part in BY_NAME.values():
        if found := results.about(folder / part.file):
            return found
    raise ValueError(f"{folder}: expected the files of benchmarks/on_gpu.py, found none that says its GPU")


def _values(folder: Path, part: str) -> dict:
    return results.values(folder / BY_NAME[part].file)


def documents(folder: Path) -> list[dict]:
    """Recordings in the format of ``recording.py``, small then full, of what came back whole."""
    verdicts: dict[str, dict] = {}
    for name, found in _values(folder, "verdicts").items():
        lesson, label = name.split("/", 1)
        verdicts.setdefault(lesson, {})[label] = found
    head = {"format": recording.FORMAT, "about": about(folder)}
    small = {**_values(folder, "small"), **_values(folder, "lessons")}
    full = _values(folder, "full")
    found = [{**head, "size": "small", "programs": small, "verdicts": verdicts}] if small or verdicts else []
    return found + ([{**head, "size": "full", "programs": full, "verdicts": {}}] if full else [])


def sequences(folder: Path) -> dict[str, dict]:
    """The allocator's books of each sequence that came back."""
    return _values(folder, "allocator")


def figures(folder: Path) -> dict[str, dict]:
    """The readings of published figures' programs that came back."""
    return _values(folder, "published")


def failures(folder: Path) -> dict[str, str]:
    """Item to error, of everything that failed where the folder was filled."""
    ends = (results.ended(folder / part.file) for part in BY_NAME.values())
    return {item: line["error"] for found in ends for item, line in found.items() if line["error"]}


def other_books(expected: dict, actual: dict) -> str:
    """Where one sequence's books first differ, in words; empty if nowhere."""
    for step, (before, after) in enumerate(zip(expected["rows"], actual["rows"], strict=True)):
        for name, wanted, found in zip(expected["books"], before, after, strict=True):
            if wanted != found:
                return f"step {step}: {name} {found:,}, expected {wanted:,}"
    for what in ("failed", "segments"):
        if expected[what] != actual[what]:
            return f"{what} {actual[what]}, expected {expected[what]}"[:300]
    return ""


def keep(folder: Path, golden: Path) -> list[Path]:
    """Write the recordings into ``golden``, named after GPU and size; returns the paths."""
    kept = []
    for document in documents(folder):
        kept.append(golden / recording.path_for(document).name)
        recording.save(document, kept[-1])
    books, shown = sequences(folder), figures(folder)
    if books or shown:
        name = recording.path_for({"about": about(folder), "size": "allocator"}).name
        kept.append(golden / name.replace("fidelity_", "gpu_"))
        text = json.dumps({"about": about(folder), "sequences": books, "published": shown})
        kept[-1].write_text(text + "\n", encoding="utf-8")
    return kept
