"""Ends a sandbox that uses more than it may, and remembers why."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autograder.grading.confine.cgroups import ControlGroups
from autograder.grading.confine.settings import GIB, MIB, Confinement
from autograder.grading.confine.usage import Usage, written

_GLANCE_SECONDS = 0.05
_GLANCES_PER_LOOK_AT_FILES = 20


class Watcher:
    """A thread that looks at one sandbox twenty times a second. With control groups it only reads what they counted."""

    def __init__(
        self,
        pid: int,
        writable: list[str],
        confinement: Confinement,
        groups: ControlGroups | None,
        kill: Callable[[], None],
    ) -> None:
        self.reason = ""
        self._writable, self._at_first = writable, sum(map(written, writable))
        self._limits, self._groups, self._kill = confinement, groups, kill
        self._usage = None if groups else Usage(pid)
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox watcher", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        glances = 0
        while not self._done.wait(_GLANCE_SECONDS):
            glances += 1
            if self.look(files=glances % _GLANCES_PER_LOOK_AT_FILES == 0):
                self._kill()
                return

    def look(self, files: bool = False) -> str:
        """Return why the sandbox must end, or "". The first reason stays."""
        with self._lock:
            self.reason = self.reason or self._found(files)
            return self.reason

    def _found(self, files: bool) -> str:
        limits = self._limits
        too_large, too_many = self._groups.exceeded() if self._groups else self._measured()
        if too_large:
            return f"used more than {_size(limits.memory)} of memory"
        if too_many:
            return f"started more than {limits.processes} processes and threads"
        if files and sum(map(written, self._writable)) - self._at_first > limits.tmp_size:
            return f"wrote more than {_size(limits.tmp_size)} of files"
        return ""

    def _measured(self) -> tuple[bool, bool]:
        try:
            count, bound = self._usage.processes(self._limits.processes)
            too_large = bound > self._limits.memory and self._usage.memory() > self._limits.memory
        except OSError:  # the sandbox is gone
            return False, False
        return too_large, count >= self._limits.processes

    def close(self) -> None:
        """Stop looking."""
        self._done.set()
        self._thread.join()
        if self._usage:
            self._usage.close()


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"
