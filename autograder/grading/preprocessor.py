"""Puts the judge's verdict where nbgrader looks for a score: into the outputs of the autograded cells.

nbgrader's own ``determine_grade`` then reads the number (or the error, which counts 0), and its feedback shows the
reason. Set in nbgrader_config.py as the step after execution.
"""

from __future__ import annotations

import dataclasses

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float

from autograder.grading.execution import mark_lost, mark_unreadable
from autograder.grading.field import field_of
from autograder.grading.job import Result
from autograder.grading.submissions import Named, noted, plan_for, unreadable
from autograder.judge.plan import Plan
from autograder.judge.process import NOT_JUDGED
from autograder.judge.verdict import Verdict


class TrustedVerdict(NbGraderPreprocessor):
    """Judges a submission in a fresh process, against the instructor's notebook in the source directory."""

    cell_timeout = Float(60.0, help="Seconds that one cell or check may take in the judge's process.").tag(config=True)
    total_timeout = Float(600.0, help="Seconds that judging one notebook may take.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Replace the outputs of every autograded cell by its verdict; put back autograded cells that are missing."""
        plan, source = plan_for(self.parent.parent.coursedir, Named.of(resources))
        if not plan.checks:
            return nb, resources
        if unreadable(nb):
            restore_missing(nb, source, plan)
            mark_unreadable(nb, unreadable(nb))
            return nb, resources
        result = field_of(self).result(nb, resources)
        missing = restore_missing(nb, source, plan)
        if result.lost:
            mark_lost(nb, result.lost)
        else:
            self._fill_in(nb, _verdicts(result), missing, resources["nbgrader"]["student"])
        return nb, resources

    def _fill_in(self, nb: NotebookNode, verdicts: dict[str, Verdict], missing: set[str], student: str) -> None:
        for verdict in verdicts.values():
            self.log.info(
                "%s: %s: %g of %g %s", student, verdict.grade_id, verdict.score, verdict.points, verdict.reason
            )
            if verdict.reason.startswith(NOT_JUDGED):
                self.log.error("%s: %s: %s", student, verdict.grade_id, verdict.reason)
        edited = noted(nb).get("edited", [])
        for cell in nb.cells:
            if utils.is_grade(cell) and cell.cell_type == "code":
                verdict = verdicts.get(cell.metadata.nbgrader["grade_id"])
                if verdict is not None:
                    remark = _remark(verdict.grade_id, edited, missing)
                    verdict = dataclasses.replace(verdict, notes=(*verdict.notes, *remark))
                    cell.outputs, cell.execution_count = verdict_outputs(verdict), None


def _verdicts(result: Result) -> dict[str, Verdict]:
    return {said["grade_id"]: Verdict(**{**said, "notes": tuple(said["notes"])}) for said in result.verdicts}


def _remark(grade_id: str, edited: list[str], missing: set[str]) -> tuple[str, ...]:
    if grade_id in missing:
        return ("This check cell was missing from the submission; the instructor's was used.",)
    if grade_id in edited:
        return ("This check cell was edited in the submission; the instructor's was used.",)
    given = [name for name in edited if name.startswith("given-") or name == "setup"]
    if given:
        return (f"Edited given cells were not used: {', '.join(given)}.",)
    return ()


def restore_missing(nb: NotebookNode, source: NotebookNode, plan: Plan) -> set[str]:
    """Append the autograded cells that a submission deleted, so that nbgrader records their score; return their ids."""
    present = {cell.metadata.nbgrader["grade_id"] for cell in nb.cells if utils.is_grade(cell)}
    missing = {check.grade_id for check in plan.checks} - present
    nb.cells += [cell for cell in source.cells if cell.metadata.get("nbgrader", {}).get("grade_id") in missing]
    return missing


def verdict_outputs(verdict: Verdict) -> list[NotebookNode]:
    """Return the outputs that make nbgrader award exactly ``verdict.score`` and its feedback show the message."""
    if verdict.score == 0 and verdict.points > 0:
        name, _, text = verdict.message.partition(": ")
        lines = [f"{name}: {text}" if text else name, "0 points."]
        return [new_output("error", ename=name, evalue=text, traceback=lines)]
    said = [line for line in (verdict.message, f"{verdict.score:g} of {verdict.points:g} points") if line]
    if verdict.reason:
        said = said[:-1]
    return [
        new_output("stream", name="stdout", text="\n".join(said) + "\n"),
        new_output("execute_result", data={"text/plain": repr(float(verdict.score))}, execution_count=None),
    ]
