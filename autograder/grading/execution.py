"""Takes the place of nbgrader's ``Execute``: a worker runs the notebook, and only its outputs come back."""

from __future__ import annotations

import copy

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import Execute
from traitlets import Integer

from autograder.grading.field import field_of
from autograder.grading.job import Result
from autograder.grading.submissions import noted, unreadable


class FarmedExecute(Execute):
    """nbgrader's ``Execute`` with the kernel elsewhere: warm, confined, and several at a time.

    The first notebook of a run sends all others ahead. Where the lesson has checks for the judge, autograded cells are
    not run: their output is the judge's verdict, and hidden tests stay out of the kernel that the submission controls.
    """

    total_timeout = Integer(300, help="Seconds that all cells of a notebook may take together.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict, km=None) -> tuple[NotebookNode, dict]:
        """Fill in the outputs; nothing that a submission does ends the run."""
        why = unreadable(nb)
        if why:
            mark_unreadable(nb, why)
            return nb, resources
        result = field_of(self).result(nb, resources)
        if result.lost or result.ended:
            self.log.warning("%s: %s", resources["nbgrader"]["student"], result.lost or result.ended)
        fill_in(nb, result)
        if result.ended and not result.verdicts:
            _fail(nb, "NotRun", result.ended, lambda cell: cell.execution_count is None)
        return nb, resources


def fill_in(nb: NotebookNode, result: Result) -> None:
    """Put a result's outputs into the notebook's cells, and how it ended into its metadata."""
    for index, (outputs, count) in result.outputs.items():
        cell = nb.cells[int(index)]
        cell.outputs, cell.execution_count = [nbformat.from_dict(copy.deepcopy(output)) for output in outputs], count
    nb.metadata.update(nbformat.from_dict(copy.deepcopy(result.metadata)))
    for name in ("ended", "lost"):
        if getattr(result, name):
            noted(nb)[name] = getattr(result, name)
    if result.lost:
        mark_lost(nb, result.lost)


def mark_unreadable(nb: NotebookNode, why: str) -> None:
    """Score every autograded cell 0 with the reason."""
    _fail(nb, "Unreadable", why)


def mark_lost(nb: NotebookNode, why: str) -> None:
    """Score every autograded cell 0 with the reason; an instructor must look."""
    _fail(nb, "NotGraded", f"the grader could not execute this: {why}")


def _fail(nb: NotebookNode, name: str, text: str, which=lambda cell: True) -> None:
    """Give autograded cells an error. Without an output nbgrader would give them all of their points."""
    for cell in nb.cells:
        if cell.cell_type == "code" and utils.is_grade(cell) and not utils.is_solution(cell) and which(cell):
            error = new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}", "0 points."])
            if error not in cell.outputs:  # execution said so, and judging says it again for cells that were put back
                cell.outputs = [*cell.outputs, error]
