"""Notes what came of every check cell that runs in this notebook.

The notebook's own event after each cell tells; nothing is registered outside IPython, so the judge writes nothing.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import TracebackType

from autograder.journal import store
from autograder.journal.course import CheckCell, fingerprint, lessons
from autograder.trace.unsolved import unsolved

_checks: dict[str, CheckCell] = {}
_lesson = ""
_complained = False


def watch(lesson: str) -> None:
    """From now on, note the checks of this lesson. Does nothing outside IPython; calling it again is fine."""
    global _lesson
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return
    _lesson = lesson
    _checks.clear()
    for about in lessons():
        if about.slug == lesson:
            _checks.update((check.source, check) for check in about.checks)
    if _note not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _note)


def _note(result) -> None:
    """IPython's event ``post_run_cell``: ``result`` is an ``ExecutionResult``."""
    check = _checks.get(fingerprint(result.info.raw_cell or ""))
    error = result.error_in_exec
    if check is None or result.error_before_exec is not None or _is_no_attempt(error):
        return
    points = 0 if error is not None else _points(result.result, check.points)
    outcome = "passed" if points >= check.points else "failed"
    _append(store.entry(_lesson, check.exercise, check.name, outcome, points))


def _points(value, full: float) -> float:
    """As nbgrader counts: a plain number is the points, within 0 and all of them; anything else is all of them."""
    if type(value) not in (int, float):
        return full
    return 0 if math.isnan(value) else min(max(value, 0), full)


def _is_no_attempt(error: BaseException | None) -> bool:
    """An exercise that is still its stub, a cell above that was not run, an interruption: nothing was tried."""
    if error is None:
        return False
    if not isinstance(error, Exception) or unsolved(error) is not None:
        return True
    return isinstance(error, NameError) and _raised_by_the_cell_itself(error.__traceback__)


def _raised_by_the_cell_itself(traceback: TracebackType | None) -> bool:
    cell = innermost = None
    while traceback is not None:
        innermost = traceback.tb_frame.f_code
        cell = innermost if cell is None and innermost.co_name == "<module>" else cell
        traceback = traceback.tb_next
    return cell is not None and cell.co_filename == innermost.co_filename


def _append(entry: store.Entry) -> None:
    global _complained
    path = store.journal_near(Path.cwd(), entry.lesson)
    try:
        store.append(path, entry)
    except OSError as error:
        if not _complained:
            print(
                f"Your progress is not kept: {path} cannot be written ({error.strerror}). Your answer counts all the same."
            )
        _complained = True
