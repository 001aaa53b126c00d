"""Counts results as they arrive: right, partial, wrong, crashed."""

from __future__ import annotations

import json
import threading
from collections import Counter

import nbformat

from autograder.grading.job import Job, Result
from autograder.grading.outcomes import FAILED, points_in, state_of


class Tally:
    """How many submissions came out how, and what was remarked on any; may be told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: Counter[str] = Counter()
        self.remarks: dict[str, None] = {}

    def add(self, job: Job, result: Result) -> None:
        """Count one result."""
        state = FAILED if result.lost else state_of(*_points(job, result), ended=result.ended)
        with self._lock:
            self._states[state] += 1
            self.remarks.update(dict.fromkeys(result.remarks))

    @property
    def done(self) -> int:
        """How many results there are."""
        return sum(self._states.values())

    def __str__(self) -> str:
        with self._lock:
            return ", ".join(f"{count} {state}" for state, count in self._states.most_common())


def _points(job: Job, result: Result) -> tuple[float, float]:
    """Return score and maximum of a result, as nbgrader will read them."""
    if job.plan is not None:
        return sum(v["score"] for v in result.verdicts), sum(v["points"] for v in result.verdicts)
    notebook = nbformat.from_dict(json.loads(job.notebook))
    for index, cell in enumerate(notebook.cells):
        cell.source = "".join(cell.source)
        if str(index) in result.outputs:
            cell.outputs = [nbformat.from_dict(output) for output in result.outputs[str(index)][0]]
    return points_in(notebook)
