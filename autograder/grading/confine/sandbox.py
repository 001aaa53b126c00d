"""A sandbox that stays open: bubblewrap builds it, a small process keeps it, others walk in through ``pidfd``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable

from autograder.errors import ConfinementUnavailable
from autograder.grading.confine.availability import available, text_in_pipe
from autograder.grading.confine.bubblewrap import ACCOUNTS, command
from autograder.grading.confine.cgroups import ControlGroups
from autograder.grading.confine.settings import Confinement
from autograder.grading.confine.watcher import Watcher

_KEEPER = "trap '' CHLD; echo; exec cat"
"""The first process inside: says that all is set up, reaps orphans, ends when the pipe from here closes."""


class Sandbox:
    """An empty sandbox; it goes, with everything in it, on ``close()`` or when the process that made it ends.

    Parameters
    ----------
    scratch : str
        Folder that processes inside may read and write, under the same path as outside.
    writable : iterable of str
        More such folders.

    Attributes
    ----------
    pid, pidfd : int
        The first process inside, as seen from here; ``setns`` on ``pidfd`` enters.
    """

    def __init__(self, scratch: str, writable: Iterable[str] = (), confinement: Confinement | None = None) -> None:
        self.confinement = confinement or Confinement()
        self.pid = self.pidfd = -1
        self._process = self._groups = self._watcher = None
        self._pipe = -1
        try:
            folders = list(dict.fromkeys(map(os.path.abspath, [scratch, *writable])))
            self._build(folders)
            with contextlib.suppress(OSError):  # the watcher measures where no group can be made
                self._groups = ControlGroups(self.confinement.memory, self.confinement.processes)
            self._watcher = Watcher(self.pid, folders, self.confinement, self._groups, self.kill)
        except OSError as error:
            self.close()
            raise ConfinementUnavailable(f"the sandbox could not be made: {error}. {available()}".strip()) from None

    def _build(self, writable: list[str]) -> None:
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise OSError("there is no bwrap on PATH")
        told, tell = os.pipe()
        end_of_pipe, self._pipe = os.pipe()
        accounts = text_in_pipe(ACCOUNTS)
        line = command(bwrap, writable, self.confinement, accounts)
        try:
            self._process = subprocess.Popen(
                [*line, "--info-fd", str(tell), "--", "/bin/sh", "-c", _KEEPER],
                stdin=end_of_pipe,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(tell, accounts),
            )
        finally:
            for descriptor in (tell, end_of_pipe, accounts):
                os.close(descriptor)
        with open(told) as information:
            said = information.read()
        if not said or self._process.stdout.readline() != b"\n":
            raise OSError("bwrap says: " + self._process.stderr.read().decode(errors="replace").strip())
        self.pid = json.loads(said)["child-pid"]
        self.pidfd = os.pidfd_open(self.pid)

    @property
    def groups(self) -> list[str]:
        """Return the files of control groups that a process joins before it enters; none where none can be made."""
        return self._groups.files if self._groups else []

    @property
    def limited_by(self) -> str:
        """Return what holds memory and processes down here: ``"control groups"`` or ``"watching"``."""
        return "control groups" if self._groups else "watching"

    @property
    def reason(self) -> str:
        """Return which limit was passed, or ""."""
        return self._watcher.reason if self._watcher else ""

    def kill(self) -> None:
        """End every process inside; the sandbox remains to be closed."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """End every process inside and the sandbox itself. May be called twice."""
        self.kill()
        if self._watcher:
            self._watcher.close()
            self._watcher = None
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process.stderr.close()
            self._process = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self._groups:
            self._groups.close()
            self._groups = None

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.close()
