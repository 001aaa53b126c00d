"""An interrupt (Ctrl-C) neither ends the process nor cuts the simulation's bookkeeping in half.

torch asks the device guard for its type from C++ code that must not throw, and on the way there Python looks for signals
(pybind11 calls PyObject_Str, which does). A handler that raises in that moment ends the process. So while the
simulated GPU is on, an interrupt is not raised by the signal's handler but left for the interpreter to raise before one of its next
instructions (PyThreadState_SetAsyncExc), which never happens inside C++. While the main thread is in the simulation's
code, asking waits, so that no book is cut short; a program that is hardly ever anywhere else gets the exception from
its next operator, before that begins. If the next instructions are the guard's own, the exception is kept for the next
operator as well. Only a main thread that stays in one call and looks for signals at once each time (``time.sleep``
does) is interrupted by the handler itself.
"""

from __future__ import annotations

import _thread
import ctypes
import dis
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PACKAGE = os.path.dirname(_OURS.rstrip(os.sep)) + os.sep
_SOON = 0.001
_PATIENCE = 50
_MOST_LOOKS = 5000
_LOOK_AGAIN = 0.02
_AT_ONCE = 0.002
_WAITS = 3
_LOOKS = 8
_AFTER_YIELD_FROM = 2
_interruptible: set = set()
kept: list[tuple[int, BaseException]] = []
"""Exceptions that were raised inside the device guard, with the thread that they were meant for."""


def install() -> None:
    """Interrupt harmlessly from now on; only in the main thread, and only in place of Python's default."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, Interruption(KeyboardInterrupt))


def settle() -> None:
    """Raise an interrupt that has come and has not been raised yet; call where the interrupted program ends."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interruption) and threading.current_thread() is threading.main_thread():
        handler.settle()


def interruptible(function: Callable) -> Callable:
    """The function, in which an interrupt may be raised although it is the simulation's: it waits for others."""
    _interruptible.add(function.__code__)
    return function


class Interruption:
    """A signal handler for the main thread that has ``kind`` raised there soon."""

    def __init__(self, kind: type[BaseException]) -> None:
        self._kind = kind
        self._wanted = False
        self._raised = False
        self._under_way = False
        self._swallowed = False
        self._sent: float | None = None
        self._prompt_answers = 0

    def __call__(self, number: int, _frame) -> None:
        try:
            at_once = self._noted(number)
        except self._kind:  # an earlier signal's, raised in here, where C++ may be waiting: it is asked for again
            at_once, self._swallowed = False, True
            self._prompt_answers += self._sent is not None
            self._begin(number)
        if at_once:
            self._raised = True
            self._forget_kept()
            raise self._kind

    def _noted(self, number: int) -> bool:
        """Have the exception raised soon; returns whether the handler must raise it itself."""
        if self._sent is None:
            self._wanted = True
            self._begin(number)
        elif time.monotonic() - self._sent < _AT_ONCE:
            self._prompt_answers += 1
            return self._prompt_answers >= _WAITS
        return False

    def _begin(self, number: int) -> None:
        if not self._under_way:
            self._under_way = True
            _thread.start_new_thread(self._see_to_it, (number,))

    def withdraw(self) -> None:
        """Call in the main thread: what was asked for and has not been raised shall not be raised any more."""
        self._wanted = False
        if self._under_way:
            _raise_in_main_thread(None)
        self._forget_kept()

    def _forget_kept(self) -> None:
        kept[:] = [entry for entry in kept if not isinstance(entry[1], self._kind)]

    @interruptible
    def settle(self) -> None:
        """Call in the main thread where its code ends: what was asked for is raised here at the latest."""
        while self._under_way:
            time.sleep(_SOON)

    def _see_to_it(self, number: int) -> None:
        """Runs in a thread of its own, since the handler's next instruction would be the first to raise."""
        try:
            self._swallowed = False
            self._ask()
            self._prompt_answers = 0
            for _ in range(_LOOKS):
                time.sleep(_LOOK_AGAIN)
                if self._swallowed:
                    self._swallowed = False
                    self._ask()
                    continue
                if self._raised or not self._wanted:
                    return
                if self._prompt_answers == _WAITS - 1:
                    _raise_in_main_thread(None)
                self._sent = time.monotonic()
                _signal_main_thread(number)
            time.sleep(_LOOK_AGAIN)
        finally:
            self._sent, self._under_way = None, False
            if self._swallowed:
                self._begin(number)

    def _note_raised(self) -> None:
        self._raised = True

    def _ask(self) -> None:
        """Have the exception raised as soon as the main thread is not in the simulation's code."""
        looks, entry = 0, (threading.main_thread().ident, self._kind())
        self._raised = False
        time.sleep(_SOON)
        while self._wanted and looks < _MOST_LOOKS and _must_not_be_cut_short(_frame_of_main_thread()):
            looks += 1
            if looks == _PATIENCE:
                kept.append(entry)
            time.sleep(_SOON)
            if looks >= _PATIENCE and entry not in kept:
                self._raised = True
                return
        if entry in kept:
            kept.remove(entry)
        if self._wanted:
            _raise_in_main_thread(_announcing(self._kind, self._note_raised))


def _announcing(kind: type[BaseException], note: Callable[[], None]) -> type[BaseException]:
    """A class that calls ``note()`` when the interpreter makes the exception it was asked for, one of ``kind``."""

    class Announced(kind):
        def __new__(cls, *arguments):
            note()
            return kind(*arguments)

    return Announced


def _frame_of_main_thread():
    return sys._current_frames().get(threading.main_thread().ident)


def _must_not_be_cut_short(frame) -> bool:
    """Whether the simulation is at work, itself or in a function of the package that it called."""
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        if frame.f_code.co_filename.startswith(_OURS):
            return frame.f_code not in _interruptible
        frame = frame.f_back
    return False


def _signal_main_thread(number: int) -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        signal.raise_signal(number)


def _raise_in_main_thread(kind: type[BaseException] | None) -> None:
    """``None`` takes back what was asked for and has not been raised."""
    thread = ctypes.c_ulong(threading.main_thread().ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(kind) if kind is not None else None)


def deliver() -> None:
    """Raise what was kept for this thread, if anything was."""
    here = threading.get_ident()
    mine = next((entry for entry in kept if entry[0] == here), None)
    if mine is not None:
        kept.remove(mine)
        try:
            raise mine[1]
        finally:
            del mine  # or this frame and its exception would hold each other, and all variables on the way


def entered_undisturbed(function: Callable) -> Callable:
    """The function, changed so that nothing is raised before its first instruction.

    From Python 3.11 on a function begins with RESUME, whose operand says how it was entered; the interpreter looks for
    signals there unless a generator goes on after ``yield from`` (Python/bytecodes.c, RESUME).
    """
    code = bytearray(function.__code__.co_code)
    for instruction in dis.get_instructions(function):
        if instruction.opname == "RESUME":
            code[instruction.offset + 1] = _AFTER_YIELD_FROM
    function.__code__ = function.__code__.replace(co_code=bytes(code))
    return function


Interruption.__call__ = entered_undisturbed(Interruption.__call__)
