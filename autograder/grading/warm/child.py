"""One child, warm or cold, seen from the process that grades."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
import time
import weakref
from typing import ClassVar

from autograder.errors import ForkRefused
from autograder.grading.confine import Sandbox

_LOST = -signal.SIGKILL
"""The exit status of a child whose keeper ended without a word."""


class Child:
    """Like ``subprocess.Popen``, for a process that another one forked. Its end is known from a status pipe.

    Attributes
    ----------
    pid : int
        As seen from here.
    returncode : int or None
        As in ``Popen``: negative for a signal, None while it runs.
    warm : bool
        Whether a process forked it that had imported everything.
    sandbox : Sandbox or None
        Where it lives; ``kill()`` ends everything in there.
    """

    _all: ClassVar[weakref.WeakSet[Child]] = weakref.WeakSet()

    def __init__(self, status: int, sandbox: Sandbox | None, warm: bool) -> None:
        self.pid, self.returncode = 0, None
        self.sandbox, self.warm = sandbox, warm
        self._status, self._pidfd, self._unread, self._failed = status, -1, b"", ""
        self._lock = threading.RLock()
        os.set_blocking(status, False)
        self._all.add(self)

    @classmethod
    def end_all(cls) -> None:
        """End every child of this process that still runs, whoever waits for it."""
        for child in list(cls._all):
            if child.returncode is None:
                child.kill()

    def wait_started(self, seconds: float) -> None:
        """Wait until the child has a number. Raises ForkRefused if it gets none."""
        deadline = time.monotonic() + seconds
        while not self.pid and self.returncode is None:
            if not self._wait_for_news(deadline):
                self.close()
                raise ForkRefused(f"no child after {seconds:g} s")
            self._read()
        if not self.pid:
            raise ForkRefused(self._failed or "the process that should fork ended")

    def poll(self) -> int | None:
        """Return the exit status, or None while the child runs."""
        self._read()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if not self._wait_for_news(deadline):
                raise TimeoutError(f"process {self.pid} still runs after {timeout:g} s")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the child alone, if it still runs."""
        with self._lock:
            if self._pidfd >= 0 and self.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End the child and what it started: everything in its sandbox, or its descendants."""
        if self.sandbox:
            self.sandbox.kill()
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go; a child that still runs is ended."""
        with self._lock:
            for descriptor in (self._status, self._pidfd):
                if descriptor >= 0:
                    os.close(descriptor)
            self._status = self._pidfd = -1
            if self.returncode is None:
                self.returncode = _LOST

    def _wait_for_news(self, deadline: float | None) -> bool:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        status = self._status
        return status < 0 or bool(select.select([status], [], [], left)[0])

    def _read(self) -> None:
        with self._lock:
            while self._status >= 0 and self.returncode is None:
                try:
                    data = os.read(self._status, 65536)
                except BlockingIOError:
                    return
                self._unread += data
                *lines, self._unread = self._unread.split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))
                if not data and self.returncode is None:
                    self.returncode = _LOST

    def _hear(self, event: dict) -> None:
        if "pid" in event:
            self.pid = event["pid"]
            with contextlib.suppress(ProcessLookupError):
                self._pidfd = os.pidfd_open(self.pid)
        elif "exit" in event:
            self.returncode = event["exit"]
        else:
            self.returncode = _LOST
            self._failed = event.get("refused") or f"it failed: {event.get('failed', event)}"

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.close()
