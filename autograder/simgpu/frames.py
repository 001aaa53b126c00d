"""Whose line is running: Python frames with our own and torch's left out."""

from __future__ import annotations

import os
import sys

import torch

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_TORCH = os.path.dirname(torch.__file__) + os.sep
_PACKAGE = os.path.dirname(_OURS.rstrip(os.sep)) + os.sep
_SCRIPT = os.path.join(_PACKAGE, "run", "script.py")
_OPERATORS = os.path.join(_TORCH, "_ops.py")
_known: dict[tuple[int, int], tuple] = {}
"""One entry per line of code, with the code, so that its id stays its own."""


def user_stacklevel() -> int:
    """The ``stacklevel`` that makes warnings.warn, called by our caller, point at the first line outside torch."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_OURS, _TORCH)):
        frame = frame.f_back
        level += 1
    return level


def stack() -> list[dict]:
    """The Python stack of the running program, innermost first, as torch's memory snapshots write it: filename, line, name.

    This package's frames are left out, since CUDA has none in their place: neither those that compute a kernel, nor what
    they called in torch/_ops.py to get there, nor those that run the script.
    """
    frame = sys._getframe(1)
    found: list[dict] = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PACKAGE):
            if code.co_filename == _SCRIPT:
                break
            while found and found[-1]["filename"] == _OPERATORS:
                found.pop()
        else:
            found.append(_entry(code, frame.f_lineno))
        frame = frame.f_back
    return found


def _entry(code, line: int) -> dict:
    key = id(code), line
    known = _known.get(key)
    if known is None:
        known = _known[key] = code, {"filename": code.co_filename, "line": line, "name": code.co_name}
    return known[1]
