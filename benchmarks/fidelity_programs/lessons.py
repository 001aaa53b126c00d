"""The lessons as programs: every recording that a lesson's notebook makes, and the verdict on every answer.

Whatever lessons there are in lessons/ are run, from their solutions' notebooks, each in a process of its own (a device
cannot be added after a backward): once with the official answers, once with the first wrong answer to each exercise.
"""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.fidelity_programs import sources
from benchmarks.fidelity_programs.sources import ROOT

_SECONDS = 1800
_LEAK = " with leaks"
QUANTITIES = ("allocated", "peak", "reserved")


def names() -> list[str]:
    """The lessons there are, by number."""
    return sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"))


def title(lesson: str, leak: bool) -> str:
    """What a run of a lesson is called: ``leak`` for that with wrong answers."""
    return lesson + _LEAK * leak


def environment(device: str) -> dict[str, str]:
    """Variables for a lesson's process. The simulated GPU counts cuBLAS's workspaces, as CUDA does."""
    return {
        "AUTOGRADER_DEVICE": device,
        "MPLBACKEND": "Agg",
        "PYTHONPATH": str(ROOT),
        "AUTOGRADER_CUBLAS_WORKSPACES": "1",
    }


def traces(lesson: str, device: str) -> dict[str, dict]:
    """Run a lesson's notebook with right and with wrong answers; ``"lesson/number title"`` to readings per step."""
    return {**_child("traces", lesson, device), **_child("traces", title(lesson, True), device)}


def verdicts(lesson: str, device: str) -> dict[str, dict]:
    """Judge a lesson's stubs, answers and fixtures on a device: trial to check to [score, passed]."""
    return _child("verdicts", lesson, device)


def _child(task: str, lesson: str, device: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.fidelity_programs.lessons", task, lesson]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment(device)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{lesson} on {device}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_notebook(run: str) -> Iterator[tuple[str, dict]]:
    """Execute a lesson's code cells in order, in this process; what each cell recorded, as (name, readings per step).

    ``run`` is a name as ``title`` gives it. A cell that fails is noted as a program without steps. Checks are left out
    where answers are wrong.
    """
    from autograder.trace import recorder

    lesson = run.removesuffix(_LEAK)
    wrong = sources.first_wrong(lesson) if run.endswith(_LEAK) else {}
    found: list[tuple[str, dict]] = []
    count = 0
    end = recorder.Recording.__exit__

    def note(recording, *error):
        nonlocal count
        try:
            return end(recording, *error)
        finally:
            samples = recording.trace.samples
            name = f"{run}/{count:02d} {recording.trace.title}"
            found.append((name, {q: [getattr(s, q) for s in samples] for q in QUANTITIES}))
            count += 1

    recorder.Recording.__exit__ = note
    namespace = {"__name__": "__main__", "display": lambda *objects, **options: None}
    cells = [cell for cell in sources.read_notebook("solutions", lesson).cells if cell.cell_type == "code"]
    try:
        for number, cell in enumerate(cells):
            about = cell.metadata.get("autograder", {})
            if wrong and about.get("kind") == "check":
                continue
            source = wrong.get(about["exercise"], cell.source) if about.get("kind") == "exercise" else cell.source
            linecache.cache[f"<cell {number}>"] = len(source), None, source.splitlines(keepends=True), f"<cell {number}>"
            try:
                exec(compile(source, f"<cell {number}>", "exec"), namespace)  # noqa: S102 - the course's own notebook
            except Exception as error:  # noqa: BLE001 - the same must happen on the other device
                nothing = {quantity: [] for quantity in QUANTITIES}
                found.append((f"{run}/cell {number} raises {type(error).__name__}", {**nothing, "said": str(error)[:500]}))
            yield from found
            found.clear()
    finally:
        recorder.Recording.__exit__ = end


def judge_lesson(lesson: str, on_trial: Callable[[str, dict], None]) -> None:
    """Judge all trials of a lesson; ``on_trial(label, {check: [score, passed]})`` as each ends."""
    from autograder.judge.process import Limits, judge

    plan = sources.plan(lesson)

    def told(number: int, found: dict) -> None:
        on_trial(plan.trials[number].label, {name: [v.score, v.passed] for name, v in found.items()})

    judge(plan, limits=Limits(each=120.0, total=_SECONDS), on_trial=told)


def _verdicts(lesson: str) -> dict:
    found: dict[str, dict] = {}
    judge_lesson(lesson, found.__setitem__)
    return found


def _main(task: str, lesson: str) -> None:
    printed, sys.stdout = sys.stdout, sys.stderr
    result = dict(run_notebook(lesson)) if task == "traces" else _verdicts(lesson)
    print(json.dumps(result), file=printed)


if __name__ == "__main__":
    _main(*sys.argv[1:])
