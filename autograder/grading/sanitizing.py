"""Gives a submitted notebook the instructor's metadata, before nbgrader reads any of it."""

from __future__ import annotations

import copy
import re

from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.grading.source import read_source, source_path
from autograder.grading.submissions import unreadable


class InstructorMetadata(NbGraderPreprocessor):
    """Replaces the metadata of every cell by the instructor's for the same ``grade_id``, or by nothing.

    So points, locks, tags that skip cells, unknown or repeated ids and foreign schema versions that a submission
    brings have no effect, and cannot end the run for the class. Of cells with the same id the last one counts, as in
    nbgrader's ``DeduplicateIds``. Locked cells whose text was edited are noted in the notebook's metadata, for the
    feedback to mention.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Reset the metadata of all cells."""
        about = resources["nbgrader"]
        source = read_source(source_path(self.parent.parent.coursedir, about["assignment"], about["notebook"]))
        pristine = {cell.metadata.nbgrader["grade_id"]: cell for cell in source.cells if "nbgrader" in cell.metadata}
        edited = []
        for cell in reversed(nb.cells):
            about = cell.metadata.get("nbgrader")
            grade_id = about.get("grade_id") if isinstance(about, dict) else None
            owner = pristine.pop(grade_id, None) if isinstance(grade_id, str) else None
            if owner and utils.is_locked(owner) and cell.source.strip() != released_source(owner).strip():
                edited.append(grade_id)
            cell.metadata = copy.deepcopy(owner.metadata) if owner else NotebookNode()
        why = unreadable(nb)
        nb.metadata["autograder"] = {"edited": sorted(edited), **({"unreadable": why} if why else {})}
        return nb, resources


def released_source(cell: NotebookNode) -> str:
    """Return a cell's source as students got it: without hidden tests."""
    return re.sub(
        r"^[^\n]*BEGIN HIDDEN TESTS.*?END HIDDEN TESTS[^\n]*\n?", "", cell.source, flags=re.DOTALL | re.MULTILINE
    )
