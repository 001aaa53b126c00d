"""How fast is a class graded, against plain nbgrader and against the cells alone?

    python benchmarks/grade_class.py [--submissions 40] [--workers 2] [--timeout 10] [--skip-plain]
    python benchmarks/grade_class.py --growth 10 100 1000
    python benchmarks/grade_class.py --lesson 01_accumulated_metrics --submissions 8

The first grades the same submissions (half right, half wrong, one that hangs, one that kills its kernel) three ways, one
after the other in one run: plain ``nbgrader autograde``; ``autograder grade``; and the floor, which is the time that the
cells alone take in processes that have imported everything, two at a time. It also compares the two gradebooks. The
second grades copies of one light notebook, ever more of them. The third does the first with a lesson of this course,
where ours runs the notebook and then the judge.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nbformat
import psutil

from autograder.grading.course import Course
from benchmarks.classroom import course as classroom
from benchmarks.classroom import floor, lessons
from benchmarks.classroom.gradebooks import differences, sqlite

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "AUTOGRADER_DEVICE": "simgpu"}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
_LOOK = 0.2


def main() -> None:
    """Read the options and run one of the three comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--submissions", type=int, default=40)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=int, default=10, help="seconds per cell")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps in each notebook")
    parser.add_argument("--skip-plain", action="store_true")
    parser.add_argument("--growth", type=int, nargs="+", help="numbers of submissions")
    parser.add_argument("--lesson", help="a lesson of this course")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="class-") as folder:
        if wanted.growth:
            growth(Path(folder), wanted)
        elif wanted.lesson:
            side_by_side(*lessons.make_class(ROOT, Path(folder), wanted.lesson, wanted.submissions), wanted)
        else:
            side_by_side(*made_up(Path(folder), wanted.submissions, wanted.timeout, wanted.steps), wanted)


def made_up(folder: Path, count: int, timeout: int, steps: int, bad: bool = True) -> tuple[Path, str, list[Path]]:
    """Make a course, release its assignment, and hand in ``count`` submissions."""
    root = folder / "course"
    classroom.make_course(root, timeout, steps)
    Course(root).generate_assignment(classroom.ASSIGNMENT)
    name = classroom.ASSIGNMENT
    released = nbformat.read(root / "release" / name / f"{name}.ipynb", as_version=4)
    for student, notebook in classroom.submissions(released, count, bad).items():
        classroom.hand_in(root, student, notebook)
    return root, name, sorted(root.glob(f"submitted/*/{name}/*.ipynb"))


def side_by_side(root: Path, assignment: str, notebooks: list[Path], wanted) -> None:
    """Grade copies of a course with nbgrader and with ours; print seconds, ratios, memory, and what differs."""
    count = len(notebooks)
    print(f"{count} submissions of {assignment}, {wanted.workers} workers, {os.cpu_count()} cores")
    ours_root = shutil.copytree(root, root.parent / "ours")
    ours = GradedByUs(ours_root, assignment, wanted.workers)
    alone = floor.seconds(notebooks, wanted.workers, wanted.timeout, ENVIRONMENT)
    show("floor (the cells alone)", alone, count)
    show("autograder grade", ours.seconds, count)
    print(f"  of the floor's throughput: {100 * alone / ours.seconds:.0f} %")
    print(f"  memory at most: {ours.memory / 2**20:.0f} MiB in all, {ours.processes} processes (proportional set size)")
    if not wanted.skip_plain:
        plain = graded_by_nbgrader(root, assignment)
        show("nbgrader autograde", plain, count)
        print(f"  nbgrader autograde / autograder grade = {plain / ours.seconds:.1f}")
        found = differences(sqlite(root), sqlite(ours_root))
        print(f"  rows of the gradebooks that differ: {len(found)}", *found[:20], sep="\n    ")


def growth(folder: Path, wanted) -> None:
    """Grade 10, 100, 1000 light submissions: does one cost the same in a large class?"""
    for count in wanted.growth:
        root, assignment, _ = made_up(folder / str(count), count, wanted.timeout, steps=5, bad=False)
        ours = GradedByUs(root, assignment, wanted.workers)
        show(f"{count} submissions", ours.seconds, count)
        print(f"  memory at most: {ours.memory / 2**20:.0f} MiB in all", flush=True)


def show(what: str, seconds: float, count: int) -> None:
    """Print one measurement."""
    print(
        f"{what}: {seconds:.1f} s, {1000 * seconds / count:.0f} ms each, {60 * count / seconds:.0f} a minute",
        flush=True,
    )


def graded_by_nbgrader(root: Path, assignment: str) -> float:
    """Run ``nbgrader autograde`` and return its seconds; that it fails for the killed kernel is part of it."""
    started = time.monotonic()
    command = [sys.executable, "-m", "nbgrader", "autograde", assignment]
    subprocess.run(command, cwd=root, env=ENVIRONMENT, check=False, capture_output=True)
    return time.monotonic() - started


class GradedByUs:
    """Runs ``autograder grade``; holds its seconds, and the most memory and processes it had."""

    def __init__(self, root: Path, assignment: str, workers: int) -> None:
        self.memory = self.processes = 0
        started = time.monotonic()
        command = [sys.executable, "-m", "autograder", "grade", assignment, "--workers", str(workers), "--json"]
        process = subprocess.Popen(
            command, cwd=root, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        watcher = threading.Thread(target=self._watch, args=(process,), daemon=True)
        watcher.start()
        said, complaint = process.communicate()
        self.seconds = time.monotonic() - started
        if process.returncode not in (0, 3):
            sys.exit(f"autograder grade ended with {process.returncode}\n{said}\n{complaint}")

    def _watch(self, process: subprocess.Popen) -> None:
        while process.poll() is None:
            family = [psutil.Process(process.pid), *_children(process.pid)]
            sizes = [size for member in family if (size := _size(member)) is not None]
            self.memory, self.processes = max(self.memory, sum(sizes)), max(self.processes, len(sizes))
            time.sleep(_LOOK)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _size(process: psutil.Process) -> int | None:
    """Proportional set size in bytes: pages that several processes share are divided among them."""
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return None


if __name__ == "__main__":
    main()
