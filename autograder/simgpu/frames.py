"""Whose line is running: Python frames with our own and torch's left out."""

from __future__ import annotations

import os
import sys

import torch

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_TORCH = os.path.dirname(torch.__file__) + os.sep
_MOST = 40


def user_stacklevel() -> int:
    """The ``stacklevel`` that makes warnings.warn, called by our caller, point at the first line outside torch."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_OURS, _TORCH)):
        frame = frame.f_back
        level += 1
    return level


def stack() -> list[dict]:
    """The Python stack, innermost first, as torch's memory snapshots write it: filename, line, name."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    found = []
    while frame is not None and len(found) < _MOST:
        code = frame.f_code
        found.append({"filename": code.co_filename, "line": frame.f_lineno, "name": code.co_name})
        frame = frame.f_back
    return found
