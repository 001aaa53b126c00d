"""One device's readings of all programs, as a small JSON document."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks.fidelity_programs import lessons, training

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
FORMAT = 1


def record(
    device: torch.device,
    full: bool,
    only: str = "",
    wanted: Iterable[str] = (),
    judge: bool = True,
    progress: Callable[[str], None] = lambda name: None,
) -> dict:
    """Run the programs whose name contains ``only``, and the lessons in ``wanted``, on one device."""
    document = {
        "format": FORMAT,
        "about": about(device),
        "size": "full" if full else "small",
        "programs": {},
        "verdicts": {},
    }
    for program in training.programs():
        if only in program.name:
            progress(program.name)
            document["programs"][program.name] = training.measure(program, device, full)
    training.empty_device(device)
    for lesson in wanted:
        progress(lesson)
        document["programs"].update(lessons.traces(lesson, device.type))
        if judge:
            document["verdicts"][lesson] = lessons.verdicts(lesson, device.type)
    return document


def about(device: torch.device) -> dict:
    """What the readings come from: GPU, versions, the command."""
    module = torch.get_device_module(device)
    return {
        "device": device.type,
        "gpu": module.get_device_name(),
        "capability": list(module.get_device_capability()),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "command": shlex.join(["python", *sys.argv]),
    }


def path_for(document: dict) -> Path:
    """Where a recording is kept: named after its GPU and size."""
    name = "".join(c if c.isalnum() else "-" for c in document["about"]["gpu"].lower())
    return GOLDEN / f"fidelity_{name}_{document['size']}.json"


def save(document: dict, path: Path) -> None:
    """Write one program per line, so that a new recording shows as a readable difference."""
    rows = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in document["programs"].items()]
    rest = {key: value for key, value in document.items() if key != "programs"}
    head = json.dumps(rest, indent=1)[:-2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + ',\n "programs": {\n' + ",\n".join(rows) + "\n }\n}\n", encoding="utf-8")


def load(path: Path) -> dict:
    """Read a recording. Raises ValueError for a document of another format."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, found {document.get('format')!r}; record it again")
    return document


def recordings() -> list[Path]:
    """The recordings of real GPUs that the project keeps."""
    return sorted(GOLDEN.glob("fidelity_*.json"))
