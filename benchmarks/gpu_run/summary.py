"""What came back: the machine, each part's state, counts, times and errors, as JSON and in words."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.gpu_run import results
from benchmarks.gpu_run.parts import Part
from benchmarks.gpu_run.supervisor import Outcome

_MOST_ERRORS = 40
COMPLETE, PARTIAL, NOTHING = "complete", "partial", "nothing"


def machine(root: Path) -> dict:
    """The host, its driver, and the versions of what matters, without importing any of it."""
    found = {"platform": platform.platform(), "python": platform.python_version(), "processors": os.cpu_count()}
    found["revision"] = _said("git", "-C", str(root), "rev-parse", "HEAD")
    query = "--query-gpu=name,driver_version,memory.total,compute_cap"
    found["nvidia-smi"] = _said("nvidia-smi", query, "--format=csv,noheader")
    found["versions"] = {}
    for name in ("torch", "numpy", "matplotlib", "pytest"):
        try:
            found["versions"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found["versions"][name] = None
    return found


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"no {command[0]} here"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}"
    return (done.stdout or done.stderr).strip()[:1000]


def of_part(folder: Path, part: Part, outcome: Outcome) -> dict:
    """One part's row of the summary, from its file."""
    path = folder / part.file
    done = results.ended(path)
    items = list(done if outcome.items is None else outcome.items)
    errors = {name: line["error"][:600] for name, line in done.items() if line.get("error")}
    left = [item for item in items if item not in done]
    state = PARTIAL if done or results.values(path, complete=False) else NOTHING
    if outcome.items and not left and not outcome.dropped:
        state = COMPLETE
    return {
        "title": part.title,
        "state": state,
        "items": len(items),
        "ended": len(done),
        "failed": len(errors),
        "values": len(results.values(path, complete=False)),
        "left": left[:_MOST_ERRORS],
        "missing": outcome.missing,
        "why": outcome.why,
        "errors": dict(list(errors.items())[:_MOST_ERRORS]),
        "seconds": outcome.seconds,
        "lines dropped for size": outcome.dropped,
        "file": part.file,
        "bytes": path.stat().st_size if path.exists() else 0,
    }


def write(folder: Path, root: Path, parts: dict[Part, Outcome], began: float, about: dict) -> dict:
    """Write summary.json; returns it."""
    gpu = next((found for part in parts if (found := results.about(folder / part.file))), {})
    document = {
        **about,
        "gpu": gpu,
        "machine": machine(root),
        "seconds": round(time.monotonic() - began, 1),
        "parts": {part.name: of_part(folder, part, outcome) for part, outcome in parts.items()},
    }
    (folder / results.SUMMARY).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def words(document: dict) -> str:
    """The summary's last lines."""
    gpu = document["gpu"]
    lines = [f"{gpu.get('gpu', 'no device answered')}, torch {gpu.get('torch', '?')}, {document['seconds']:.0f} s"]
    for name, part in document["parts"].items():
        line = f"{name:10} {part['state']:9} {part['ended']:4} of {part['items']:4} items, {part['failed']} failed, "
        line += f"{part['values']} values, {part['seconds']:.0f} s"
        line += f"; not importable: {', '.join(part['missing'])}" if part["missing"] else ""
        lines.append(line + (f"; {part['why'].splitlines()[0][:200]}" if part["why"] else ""))
    return "\n".join(lines)
