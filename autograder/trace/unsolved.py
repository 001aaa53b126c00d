"""An exercise that is still its stub: one sentence in a notebook instead of a traceback through given cells."""

from __future__ import annotations

import dis
from types import CodeType, TracebackType

from autograder.trace.sites import is_learners_file

_RAISE = dis.opmap["RAISE_VARARGS"]


def unsolved(error: BaseException | None) -> str | None:
    """Return what to tell the learner if the error is a stub's ``raise NotImplementedError``, else None.

    The exception's own text; if it has none, whose cell to fill in. An operator that PyTorch lacks on a device raises
    the same class, but not by a ``raise`` in the learner's code: that is an error like any other, and None.
    """
    if not isinstance(error, NotImplementedError):
        return None
    innermost = _innermost(error.__traceback__)
    if innermost is None or not _is_learners_raise(innermost):
        return None
    name = _name_of_the_answer(innermost.tb_frame.f_code)
    where = f"the cell of `{name}`" if name.isidentifier() else "this cell"
    return f"{type(error).__name__}: {error if str(error) else f'write your answer in {where} first'}"


def shorten(error: BaseException | None) -> None:
    """Let a notebook show only that sentence (IPython's hook ``_render_traceback_``); plain Python shows all."""
    message = unsolved(error)
    if message is not None:
        error._render_traceback_ = lambda: [message]


def _name_of_the_answer(code: CodeType) -> str:
    """The function or class that the cell defines, also where the stub is a method or a class inside of it."""
    return getattr(code, "co_qualname", code.co_name).partition(".")[0]  # Python 3.10 has no co_qualname


def _innermost(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def _is_learners_raise(link: TracebackType) -> bool:
    code = link.tb_frame.f_code
    return is_learners_file(code.co_filename) and code.co_code[link.tb_lasti] == _RAISE
