"""Ends a sandbox that uses more than it may, and remembers why."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from autograder.grading.confine.cgroups import ControlGroups
from autograder.grading.confine.settings import GIB, MIB, Confinement
from autograder.grading.confine.usage import Usage, written

_OFTEN, _SELDOM = 0.05, 1.0
"""Seconds between two looks."""


class Watcher:
    """Threads that look at one sandbox: one for each limit, since looking at memory may be slow while processes fork.

    With control groups they read what these counted; without, what the sandbox's own ``/proc`` shows.
    """

    def __init__(
        self,
        pid: int,
        writable: list[str],
        confinement: Confinement,
        groups: ControlGroups | None,
        kill: Callable[[], None],
    ) -> None:
        self._reason = ""
        self._writable, self._at_first = writable, sum(map(written, writable))
        self._limits, self._groups, self._kill = confinement, groups, kill
        self._usage = None if groups else Usage(pid)
        self._done = threading.Event()
        looks = [(self._counted, _OFTEN)] if groups else [(self._processes, _OFTEN), (self._memory, _OFTEN)]
        self._threads = [
            threading.Thread(target=self._run, args=look, name="sandbox watcher", daemon=True)
            for look in (*looks, (self._files, _SELDOM))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def reason(self) -> str:
        """Return which limit was passed, or "": the first that was noticed."""
        if self._groups and not self._reason:  # Linux may have acted before the next look
            self._reason = self._counted()
        return self._reason

    def _run(self, look: Callable[[], str], seconds: float) -> None:
        while not self._done.wait(seconds):
            found = ""
            with contextlib.suppress(OSError):  # the sandbox is gone
                found = look()
            if found:
                self._reason = self._reason or found
                self._kill()
                return

    def _counted(self) -> str:
        too_large, too_many = self._groups.exceeded()
        return self._too_large() if too_large else self._too_many() if too_many else ""

    def _processes(self) -> str:
        most = self._limits.processes
        return self._too_many() if self._usage.processes(most) >= most else ""

    def _memory(self) -> str:
        most = self._limits.memory
        too_large = self._usage.memory_at_most() > most and self._usage.memory() > most
        return self._too_large() if too_large else ""

    def _files(self) -> str:
        size = sum(map(written, self._writable)) - self._at_first
        return f"wrote more than {_size(self._limits.tmp_size)} of files" if size > self._limits.tmp_size else ""

    def _too_large(self) -> str:
        return f"used more than {_size(self._limits.memory)} of memory"

    def _too_many(self) -> str:
        return f"started more than {self._limits.processes} processes and threads"

    def close(self) -> None:
        """Stop looking."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        if self._usage:
            self._usage.close()


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"
