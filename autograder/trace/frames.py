"""Tracebacks that show the learner's lines and not ours."""

from __future__ import annotations

import copy
import os
from types import TracebackType

from autograder.trace.sites import Place, is_learners_file

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Unlink this package's frames, and what they called in turn, from a traceback.

    A frame of ours that led back to the learner's code (a recorded step, a hook) goes alone; the last one goes with
    everything below it. A traceback of nothing else is returned as it is.
    """
    links = list(_links(traceback))
    files = [link.tb_frame.f_code.co_filename for link in links]
    deepest = max((index for index, file in enumerate(files) if is_learners_file(file)), default=-1)
    end = next((index for index in range(deepest + 1, len(links)) if files[index].startswith(_OURS)), len(links))
    theirs = [link for link, file in zip(links[:end], files[:end], strict=True) if not file.startswith(_OURS)]
    if not theirs:
        return traceback
    for link, following in zip(theirs, [*theirs[1:], None], strict=True):
        link.tb_next = following
    return theirs[0]


def learners_place(traceback: TracebackType | None) -> Place | None:
    """Return the innermost line of a traceback that is the learner's."""
    theirs = [link for link in _links(traceback) if is_learners_file(link.tb_frame.f_code.co_filename)]
    return Place(theirs[-1].tb_frame.f_code, theirs[-1].tb_lineno) if theirs else None


def _links(traceback: TracebackType | None):
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def keepsake(error: BaseException | None) -> BaseException | None:
    """Return a copy of an exception that keeps no frame alive, and so none of the step's tensors."""
    if error is None:
        return None
    try:
        kept = copy.copy(error)
    except Exception:  # noqa: BLE001 - any class of exception may refuse to be copied
        kept = RuntimeError(f"{type(error).__name__}: {error}")
    return kept.with_traceback(None)
