"""A step that never ends is stopped, and the kernel lives on.

In the main thread a timer signal (SIGALRM) interrupts even ``while True: pass`` and ``time.sleep``, never this package's
own code in the middle of its books (``autograder.simgpu.interrupts``). On other threads,
and where that signal does not exist (Windows), a watchdog thread asks the interpreter to raise in the recording
thread (``PyThreadState_SetAsyncExc``), which cannot cut short a single long call into C.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time

from autograder.simgpu.interrupts import Interruption

_REPEAT = 1.0
"""Seconds until a stop that the step swallowed (a bare ``except:``) is raised again."""
_SOON = 0.001


class StepStopped(BaseException):
    """Raised inside a step that ran too long: not an ``Exception``, so that ``except Exception`` lets it pass."""


def time_limit(seconds: float | None):
    """Return a limit with ``start()``, ``restart()`` and ``stop()``; ``seconds=None`` never stops anything."""
    if seconds is None:
        return NoLimit()
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return AlarmLimit(seconds)
    return WatchdogLimit(seconds)


class NoLimit:
    """No limit at all."""

    def start(self) -> None:
        """Begin; nothing to do."""

    restart = stop = start


class AlarmLimit:
    """A limit by timer signal, for the main thread; an alarm that was set before is put back afterwards."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._armed = False
        self._interruption = Interruption(StepStopped)

    def start(self) -> None:
        """Begin to count."""
        self._handler_before = signal.signal(signal.SIGALRM, self._on_alarm)
        self._timer_before = signal.getitimer(signal.ITIMER_REAL)
        self._started = time.monotonic()
        self.restart()

    def restart(self) -> None:
        """Count from zero again: the next step begins."""
        self._interruption.withdraw()
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self.seconds, _REPEAT)

    def stop(self) -> None:
        """End the limit and give the timer back to whoever had it."""
        self._armed = False
        self._interruption.withdraw()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler_before or signal.SIG_DFL)
        left, interval = self._timer_before
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(_SOON, left - (time.monotonic() - self._started)), interval)

    def _on_alarm(self, number: int, frame) -> None:
        if self._armed:
            self._interruption(number, frame)


class WatchdogLimit:
    """A limit by a second thread, for recordings outside the main thread and on Windows."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._wake = threading.Condition()
        self._target = threading.get_ident()
        self._running = False

    def start(self) -> None:
        """Begin to count."""
        self._running = True
        self._deadline = time.monotonic() + self.seconds
        threading.Thread(target=self._watch, name="autograder-time-limit", daemon=True).start()

    def restart(self) -> None:
        """Count from zero again: the next step begins."""
        with self._wake:
            self._deadline = time.monotonic() + self.seconds

    def stop(self) -> None:
        """End the limit; a stop that was asked for but not yet raised is withdrawn."""
        with self._wake:
            self._running = False
            self._wake.notify()
        _raise_in(self._target, None)

    def _watch(self) -> None:
        with self._wake:
            while self._running:
                left = self._deadline - time.monotonic()
                if left <= 0:
                    _raise_in(self._target, StepStopped)
                    left = self._deadline_again()
                self._wake.wait(left)

    def _deadline_again(self) -> float:
        self._deadline = time.monotonic() + _REPEAT
        return _REPEAT


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    raised = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
