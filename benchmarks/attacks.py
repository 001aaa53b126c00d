"""The attacks of tests/judge/attacks on a small lesson: what plain nbgrader gives, and what the judge gives.

``python benchmarks/attacks.py [--only WORDS]`` runs ``nbgrader autograde`` with its default settings in a temporary course,
then the judge, and prints the table of docs/security.md. Some minutes: a kernel per attack.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autograder.judge.process import Limits, judge
from tests.judge.attacks import CHECK, OTHER, OTHER_CHECK, SETUP, WORLD, Attack, small_plan
from tests.judge.attacks.tables import ATTACKS

ASSIGNMENT = "attacks"
SOLUTION = "### BEGIN SOLUTION\n{}### END SOLUTION\n"


def main() -> None:
    """Run what was asked for and print one line per attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[""], help="attacks whose names contain one of these words")
    words = parser.parse_args().only
    chosen = {label: attack for label, attack in ATTACKS.items() if any(word in label for word in words)}
    ours = judged(chosen)
    with tempfile.TemporaryDirectory(prefix="autograder-attacks-") as folder:
        plain = autograded(chosen, Path(folder))
    print("| Attack | plain nbgrader | ours | the reason that ours gives |\n|---|---|---|---|")
    for label in chosen:
        verdict = ours[label]
        reason = verdict.reason.split("\n")[0].replace("|", "\\|")
        print(f"| {label} | {plain[label]} | {verdict.score:g} of 2 | {reason[:110]} |")
    got = [label for label in chosen if plain[label].startswith("2")]
    print(f"\n{len(chosen)} attacks: plain nbgrader gave all points to {len(got)}, ours to", end=" ")
    print(sum(verdict.score > 0 for verdict in ours.values()))


def judged(attacks: dict[str, Attack]) -> dict:
    """Return the judge's verdict on the attacked exercise, by attack."""
    with tempfile.TemporaryDirectory() as folder:
        for attack in attacks.values():
            for name, text in attack.files.items():
                (Path(folder) / name).write_text(text)
        trials = tuple(attack.trial(label) for label, attack in attacks.items())
        plan = dataclasses.replace(small_plan(), trials=trials)
        found = judge(plan, Path(folder), Limits(each=20.0, total=3600.0))
    return {label: verdicts["check-answer"] for label, verdicts in zip(attacks, found, strict=True)}


def autograded(attacks: dict[str, Attack], folder: Path) -> dict[str, str]:
    """Return what plain nbgrader gives for the attacked exercise, by attack."""
    (folder / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'attacks'\n")
    source = folder / "source" / ASSIGNMENT
    source.mkdir(parents=True)
    nbformat.write(_notebook(None), source / f"{ASSIGNMENT}.ipynb")
    _nbgrader(folder, "generate_assignment", ASSIGNMENT)
    students = {f"s{number:03}": label for number, label in enumerate(attacks)}
    for student, label in students.items():
        submitted = folder / "submitted" / student / ASSIGNMENT
        submitted.mkdir(parents=True)
        nbformat.write(_notebook(attacks[label]), submitted / f"{ASSIGNMENT}.ipynb")
        for name, text in attacks[label].files.items():
            (submitted / name).write_text(text)
    for student in students:
        _nbgrader(folder, "autograde", ASSIGNMENT, "--student", student)
    return _scores(folder, students)


def _nbgrader(folder: Path, *command: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "nbgrader", *command],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        timeout=300,
    )


def _scores(folder: Path, students: dict[str, str]) -> dict[str, str]:
    from nbgrader.api import Gradebook, MissingEntry

    found = {}
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        for student, label in students.items():
            try:
                grade = gradebook.find_grade("check-answer", ASSIGNMENT, ASSIGNMENT, student)
                found[label] = f"{grade.auto_score or 0:g} of 2"
            except MissingEntry:
                found[label] = "not graded"
    return found


def _notebook(attack: Attack | None) -> NotebookNode:
    """Return the instructor's notebook, or the one that an attacker hands in."""
    own = attack.source if attack else SOLUTION.format("def answer(x):\n    return total(x)\n")
    other = OTHER if attack else SOLUTION.format(OTHER)
    cells = [_cell("setup", SETUP, locked=True), _cell("given-world", WORLD, locked=True)]
    cells += [new_code_cell(text) for text in (attack.before if attack else ())]
    cells += [_cell("answer", own, solution=True), _cell("check-answer", CHECK, locked=True, points=2)]
    cells += [_cell("other", other, solution=True), _cell("check-other", OTHER_CHECK, locked=True, points=1)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _cell(grade_id: str, source: str, locked: bool = False, solution: bool = False, points: int = 0) -> NotebookNode:
    about = {"grade_id": grade_id, "locked": locked, "solution": solution, "grade": bool(points)}
    about |= {"schema_version": 3, "task": False, "cell_type": "code"}
    if points:
        about["points"] = points
    return new_code_cell(source, metadata={"nbgrader": about})


if __name__ == "__main__":
    main()
