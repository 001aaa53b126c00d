"""The learner's line that was running: found cheaply while recording, put into words only when asked for."""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
import threading
from types import CodeType
from typing import NamedTuple

import torch

_OLD_CELL = re.compile(r"<ipython-input-(\d+)-")


def _directories_not_the_learners() -> tuple[str, ...]:
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(path.rstrip(os.sep) + os.sep for path in (here, os.path.dirname(torch.__file__), *installed))


_NOT_THE_LEARNERS = (*_directories_not_the_learners(), "<frozen ", "<eval_with_key", "<__array_function__")
_verdicts: dict[str, bool] = {}


def is_learners_file(filename: str) -> bool:
    """Whether code of that file name is the learner's: not ours, not torch, not the library, not installed."""
    verdict = _verdicts.get(filename)
    if verdict is None:
        verdict = _verdicts[filename] = not (
            filename.startswith(_NOT_THE_LEARNERS)
            or f"{os.sep}site-packages{os.sep}" in filename
            or f"{os.sep}dist-packages{os.sep}" in filename
        )
    return verdict


class Place(NamedTuple):
    """A line of code as noted while recording: two references, no frame."""

    code: CodeType
    line: int


class SiteFinder:
    """Finds the nearest learner's line of the thread that asks, or else of the thread that records.

    Where autograd runs the backward pass on threads of its own, no frame there is the learner's: then the line that the
    recording thread is on (``loss.backward()``) is the answer. Each line is one Place and one list of frames, however
    often it is found: it is asked for at every allocation.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._known: dict[tuple[int, int], tuple[Place, list[dict]]] = {}
        self._nowhere: tuple[None, list[dict]] = (None, [])
        self._noted: dict[int, Place | None] = {id(self._nowhere[1]): None}

    def find(self) -> Place | None:
        """Return the learner's line now running, or None if there is none."""
        return self._look()[0]

    def frames(self) -> list[dict]:
        """Return the learner's line now running as the frames of a snapshot entry."""
        return self._look()[1]

    def noted(self, frames: list[dict] | None) -> Place | None:
        """Return the line that ``frames()`` gave these frames for; if it never did, the line now running."""
        place = self._noted.get(id(frames), self)
        return self.find() if place is self else place

    def _look(self) -> tuple[Place | None, list[dict]]:
        frame = _nearest(sys._getframe(2))
        if frame is None and threading.get_ident() != self._thread:
            frame = _nearest(sys._current_frames().get(self._thread))
        if frame is None:
            return self._nowhere
        key = id(frame.f_code), frame.f_lineno
        return self._known.get(key) or self._learn(key, Place(frame.f_code, frame.f_lineno))

    def _learn(self, key: tuple[int, int], place: Place) -> tuple[Place, list[dict]]:
        known = self._known.setdefault(key, (place, frames_of(place)))
        self._noted[id(known[1])] = known[0]
        return known


def _nearest(frame):
    """The innermost frame that is the learner's, from this one on outwards."""
    while frame is not None:
        filename = frame.f_code.co_filename
        verdict = _verdicts.get(filename)
        if verdict or (verdict is None and is_learners_file(filename)):
            return frame
        frame = frame.f_back
    return None


def frames_of(place: Place | None) -> list[dict]:
    """Return a noted line as the one frame of a snapshot entry."""
    if place is None:
        return []
    return [{"filename": place.code.co_filename, "line": place.line, "name": place.code.co_name}]


class Site(NamedTuple):
    """The learner's line: where it stands and what it says.

    ``cell`` is the execution count when the line is in a notebook cell, shown as JupyterLab does, else None.
    """

    filename: str
    line: int
    function: str
    source: str
    cell: int | None

    def __str__(self) -> str:
        where = f"cell [{self.cell}]" if self.cell is not None else os.path.basename(self.filename)
        said = f": `{self.source}`" if self.source else ""
        return f"{where}, line {self.line}{said}"


def site_of(place: Place | None) -> Site | None:
    """Put a noted line into words."""
    return None if place is None else site_at(place.code.co_filename, place.line, place.code.co_name)


def site_at(filename: str, line: int, function: str) -> Site:
    """Put a line into words that is known by its file name, as in the frames of a snapshot."""
    return Site(filename, line, function, linecache.getline(filename, line).strip(), cell_number(filename))


def cell_number(filename: str) -> int | None:
    """Return the execution count of the notebook cell compiled under that file name, or None.

    IPython 8 and later keep a map; IPython 7 puts the number into the name, unless ipykernel names cells by a hash
    of their text: then the history is compiled to names again and compared, newest first.
    """
    old = _OLD_CELL.match(filename)
    if old:
        return int(old.group(1))
    shell = _shell()
    if shell is None:
        return None
    known = getattr(shell.compile, "_filename_map", {}).get(filename)
    if known is not None:
        return known
    if "ipykernel" not in filename:
        return None
    raw = shell.history_manager.input_hist_raw
    parsed = shell.history_manager.input_hist_parsed
    for number in range(len(raw) - 1, 0, -1):
        if shell.compile.get_code_name(raw[number], parsed[number], number) == filename:
            return number
    return None


def _shell():
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
