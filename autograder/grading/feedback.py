"""Feedback pages without the hidden tests: they name what failed, and can be used again next year."""

from __future__ import annotations

from nbgrader.preprocessors import ClearHiddenTests


class HideTests(ClearHiddenTests):
    """nbgrader's ``ClearHiddenTests``, which leaves alone a student's own cell that mentions the markers."""

    def preprocess_cell(self, cell, resources, cell_index):
        """Take the hidden part out of an autograded cell."""
        if cell.metadata.get("nbgrader", {}).get("grade"):
            return super().preprocess_cell(cell, resources, cell_index)
        return cell, resources
