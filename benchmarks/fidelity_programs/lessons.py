"""The lessons as programs: every recording that a lesson's notebook makes, and the verdict on every answer.

Whatever lessons there are in lessons/ are run, from their solutions' notebooks, each in a process of its own (a device
cannot be added after a backward).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 1800


def names() -> list[str]:
    """The lessons there are, by number."""
    return sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"))


def traces(lesson: str, device: str) -> dict[str, dict]:
    """Run a lesson's notebook with answers on a device; ``"lesson/number title"`` to readings per step."""
    return {f"{lesson}/{name}": readings for name, readings in _child("traces", lesson, device).items()}


def verdicts(lesson: str, device: str) -> dict[str, dict]:
    """Judge a lesson's stubs, answers and fixtures on a device: trial to check to [score, passed]."""
    return _child("verdicts", lesson, device)


def _child(task: str, lesson: str, device: str) -> dict:
    environment = {**os.environ, "AUTOGRADER_DEVICE": device, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.fidelity_programs.lessons", task, lesson]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{lesson} on {device}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _run_notebook(lesson: str) -> dict:
    """Execute the code cells in order; a cell that fails is noted as a program without steps."""
    from autograder.authoring.build import outputs
    from autograder.trace import recorder

    found: dict[str, dict] = {}
    end = recorder.Recording.__exit__

    def note(recording, *error):
        try:
            return end(recording, *error)
        finally:
            samples = recording.trace.samples
            name = f"{len(found):02d} {recording.trace.title}"
            found[name] = {q: [getattr(s, q) for s in samples] for q in ("allocated", "peak", "reserved")}

    recorder.Recording.__exit__ = note
    notebook = json.loads((ROOT / outputs(lesson)[0]).read_text(encoding="utf-8"))
    namespace = {"__name__": "__main__", "display": lambda *objects, **options: None}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        try:
            exec(compile(source, f"<cell {number}>", "exec"), namespace)  # noqa: S102 - the course's own notebook
        except Exception as error:  # noqa: BLE001 - the same must happen on the other device
            found[f"cell {number} raises {type(error).__name__}"] = {q: [] for q in ("allocated", "peak", "reserved")}
    return found


def _judge(lesson: str) -> dict:
    import nbformat

    from autograder.authoring.build import load, outputs
    from autograder.authoring.fixtures import expectations
    from autograder.judge.process import Limits, judge

    parts = [nbformat.read(ROOT / path, as_version=4) for path in outputs(lesson)[:2]]
    plan, _ = expectations(load(ROOT / "lessons" / f"{lesson}.py"), *parts)
    judged = judge(plan, limits=Limits(each=120.0, total=_SECONDS))
    return {
        trial.label: {name: [verdict.score, verdict.passed] for name, verdict in found.items()}
        for trial, found in zip(plan.trials, judged)
    }


def _main(task: str, lesson: str) -> None:
    printed, sys.stdout = sys.stdout, sys.stderr
    result = {"traces": _run_notebook, "verdicts": _judge}[task](lesson)
    print(json.dumps(result), file=printed)


if __name__ == "__main__":
    _main(*sys.argv[1:])
