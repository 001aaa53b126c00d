"""Reads whatever was handed in: a file that is no notebook becomes a notebook that says so and scores 0.

nbgrader itself gives such a student no score and no feedback, and some files end the run for everyone after them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from traitlets import Integer

from autograder.grading.source import source_path

_NEWEST = nbformat.current_nbformat


class AnyNotebook(NotebookExporter):
    """nbgrader's exporter, for any file under a notebook's name, or none (``c.Autograde.exporter_class``)."""

    largest_mib = Integer(200, help="MiB above which a submitted notebook is not read.").tag(config=True)

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._refused: dict[str, str] = {}

    def refuse(self, path: str, why: str) -> None:
        """Take this file for unreadable from now on."""
        self._refused[os.fspath(path)] = why

    def from_filename(self, filename: str, resources=None, **kw):
        """Read a notebook, or the reason why that is not possible."""
        try:
            if filename in self._refused:
                raise Unreadable(self._refused[filename])
            notebook = self._readable(Path(filename))
        except Unreadable as error:
            notebook = self._stand_in(resources, str(error))
        resources = {} if resources is None else resources
        folder, name = os.path.split(filename)
        resources["metadata"] = {**(resources.get("metadata") or {}), "name": Path(name).stem, "path": folder}
        return self.from_notebook_node(notebook, resources=resources, **kw)

    def _readable(self, path: Path) -> NotebookNode:
        """Read a file. Raises ``Unreadable``."""
        if path.is_symlink():
            raise Unreadable(f"{path.name} is a link, not a file; hand in the notebook itself")
        try:
            size = path.stat().st_size
            if size > self.largest_mib << 20:
                raise Unreadable(
                    f"{path.name} has {size >> 20} MiB, at most {self.largest_mib} are read; clear its outputs and "
                    "hand it in again"
                )
            return as_notebook(path.read_bytes(), path.name)
        except FileNotFoundError:
            raise Unreadable(absent(path)) from None
        except OSError as error:
            raise Unreadable(f"{path.name} cannot be read ({error.strerror})") from None

    def _stand_in(self, resources: dict, why: str) -> NotebookNode:
        """Return an empty submission with the reason on top, so that every exercise gets its 0."""
        about = resources["nbgrader"]
        coursedir = self.parent.coursedir
        folder = coursedir.format_path(coursedir.release_directory, ".", about["assignment"])
        released = Path(folder) / f"{about['notebook']}.ipynb"
        source = source_path(coursedir, about["assignment"], about["notebook"])
        if released.exists():
            notebook = nbformat.read(released, as_version=4)
        else:
            notebook = _without_answers(nbformat.read(source, as_version=4)) if source.exists() else new_notebook()
        notebook.cells.insert(0, new_markdown_cell(f"**This submission could not be read.** {why}."))
        notebook.metadata["autograder"] = {"unreadable": why}
        return notebook


def _without_answers(notebook: NotebookNode) -> NotebookNode:
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = ""
    return notebook


class Unreadable(Exception):
    """A file that cannot be graded; the text says why and what to do."""


def as_notebook(content: bytes, name: str) -> NotebookNode:
    """Read a notebook of any format known here. Raises ``Unreadable``."""
    try:
        text = content.decode("utf-8-sig")
        data = json.loads(text)
    except UnicodeDecodeError:
        raise Unreadable(f"{name} is not a text file; a notebook is JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        what = "is empty" if not content.strip() else f"is not valid JSON ({error.msg}, line {error.lineno})"
        raise Unreadable(f"{name} {what}; save the notebook again in JupyterLab") from None
    except RecursionError:
        raise Unreadable(f"{name} is nested too deeply to be a notebook") from None
    version = data.get("nbformat") if isinstance(data, dict) else None
    if not isinstance(version, int) or not ("cells" in data or "worksheets" in data):
        raise Unreadable(f"{name} is JSON, but not a notebook: it has no cells")
    if version > _NEWEST:
        raise Unreadable(f"{name} has notebook format {version}; formats up to {_NEWEST} are read here")
    try:
        notebook = nbformat.reads(text, as_version=4)
        return _sound(notebook, name)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 - nbformat's converters fail in many ways on what is not well formed
        raise Unreadable(f"{name} is not a well-formed notebook ({type(error).__name__}: {error})") from None


def _sound(notebook: NotebookNode, name: str) -> NotebookNode:
    """Refuse cells that the steps after this one could not handle."""
    for number, cell in enumerate(notebook.cells, start=1):
        sound = (
            isinstance(cell, dict)
            and cell.get("cell_type") in ("code", "markdown", "raw")
            and isinstance(cell.get("source"), str)
            and isinstance(cell.get("metadata"), dict)
        )
        if not sound:
            raise Unreadable(f"{name} is not a well-formed notebook: its cell {number} has no type, source or metadata")
        if cell.cell_type == "code" and not isinstance(cell.get("outputs"), list):
            cell.outputs, cell.execution_count = [], None
    return notebook


def absent(path: Path) -> str:
    """Say what there is instead of the notebook that was expected."""
    try:
        others = sorted(entry.name for entry in path.parent.iterdir() if entry.name != "timestamp.txt")
    except OSError:
        others = []
    if not path.parent.is_dir():
        return _absent_folder(path)
    found = f"found {', '.join(others[:5])}" if others else "the folder is empty"
    return f"expected {path.name}, {found}; hand in the notebook under the name it was given"


def _absent_folder(path: Path) -> str:
    try:
        others = sorted(entry.name for entry in path.parent.parent.iterdir() if entry.is_dir())
    except OSError:
        others = []
    return (
        f"expected a folder {path.parent.name}, found {', '.join(others[:5]) or 'none'}; hand in the notebook in a folder "
        "of the assignment's name"
    )
