"""Everything that needs a real GPU, as one command that stops itself in time: for a machine that is there for minutes.

    python benchmarks/on_gpu.py --minutes 9 --out FOLDER

Runs from a plain checkout; needs torch, numpy and matplotlib, and pytest for one part. Parts in order of value: the
fidelity programs at small size, every lesson's recordings, the allocator's sequences, the tests marked ``cuda``,
published figures' programs, verdicts, the fidelity programs at full size. Each runs in processes of its own and writes
its file as results come; what a first round leaves, the time that is left goes to.

--device NAME   cuda (default); simgpu or cpu to rehearse
--parts ...     which parts; --resume keeps what FOLDER has and runs what it lacks; --jobs N processes at a time
--like FOLDER   only what came back there, with workspaces sized for that GPU (``fidelity.py --compare`` uses it)

Exit status: 0 everything came back and nothing failed; 1 something is missing or failed; 2 nothing came back.
``python benchmarks/fidelity.py --compare FOLDER`` compares with the simulated GPU (docs/fidelity.md).
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu_run import results, summary
from benchmarks.gpu_run.parts import PARTS, Part
from benchmarks.gpu_run.supervisor import Outcome, Supervisor

_CLOSING_SECONDS = 8.0
"""Kept free at the end for ending children and writing the summary."""


def main(arguments: list[str], parts: tuple[Part, ...] = PARTS) -> int:
    """Run; returns the exit status. ``parts`` are those to choose from."""
    options, began = _parse(arguments, parts), time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in parts if part.name in options.parts]
    if not options.resume:
        for name in [part.file for part in parts] + [results.SUMMARY]:
            (options.out / name).unlink(missing_ok=True)
    os.environ["AUTOGRADER_ON_GPU_COMMAND"] = command = shlex.join(["python", "benchmarks/on_gpu.py", *arguments])
    supervisor = Supervisor(options.out, options.device, options.jobs, lambda text: print(text, flush=True))
    if options.like:
        _be_like(options.like, supervisor)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.stop.set())
    outcomes = {part: Outcome() for part in chosen}
    about = {"command": command, "device": options.device}
    document = _rounds(supervisor, outcomes, options, began, about)
    print(f"\n{'INTERRUPTED; ' if supervisor.stop.is_set() else ''}in {options.out}:\n{summary.words(document)}")
    return _status(document)


def _parse(arguments, parts):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "simgpu", "cpu"), default="cuda")
    parser.add_argument(
        "--parts", nargs="+", choices=[part.name for part in parts], default=[part.name for part in parts]
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--jobs", type=int, default=max(1, min(4, (os.cpu_count() or 1) // 2)))
    parser.add_argument("--like", type=Path)
    options = parser.parse_args(arguments)
    options.out = options.out.resolve()
    return options


def _be_like(folder: Path, supervisor: Supervisor) -> None:
    """Want only the items that came back in another run, and workspaces as its GPU has them."""
    from autograder.simgpu import workspaces

    ends = {part.name: results.ended(folder / part.file) for part in PARTS}
    supervisor.wanted = {name: {i for i, line in found.items() if not line["error"]} for name, found in ends.items()}
    capability = next((a["capability"] for part in PARTS if (a := results.about(folder / part.file))), (8, 0))
    workspaces.set_environment_like(capability)


def _rounds(supervisor: Supervisor, outcomes: dict[Part, Outcome], options, began: float, about: dict) -> dict:
    """Each part with its share of the time, then what is left of any while there is time; returns the summary."""
    end = began + options.minutes * 60 - _CLOSING_SECONDS
    document = summary.write(options.out, ROOT, outcomes, began, about)
    for first in (True, False):
        for part, outcome in outcomes.items():
            unfinished = document["parts"][part.name]["state"] != summary.COMPLETE
            hopeless = not first and outcome.items == {}
            if supervisor.stop.is_set() or time.monotonic() >= end or not unfinished or hopeless:
                continue
            print(f"{part.title} ({part.name})", flush=True)
            share = part.share if first else 1.0
            supervisor.run(part, min(end, time.monotonic() + share * options.minutes * 60), outcome)
            document = summary.write(options.out, ROOT, outcomes, began, about)
    return document


def _status(document: dict) -> int:
    parts = document["parts"].values()
    if all(part["state"] == summary.NOTHING for part in parts):
        return 2
    return 0 if all(part["state"] == summary.COMPLETE and not part["failed"] for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
