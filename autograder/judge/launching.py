"""How a judge's process is started and ended. Whoever grades may pass a launcher of their own, a sandbox's for one.

A launcher is called with the request's bytes and the file descriptors that the process needs. It runs
``autograder.judge.worker.main`` with the request on standard input and the descriptors open under the same numbers
(or under others, which ``main`` is then given), in a process of its own.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from autograder.judge.strays import MARK, end_strays

_HOME = Path(__file__).resolve().parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from autograder.judge.worker import main; main()"


class Launched(Protocol):
    """A process under way. ``kill()`` ends it and everything that it started, wherever that went."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""

    def wait(self) -> int:
        """Wait for the end and return the exit status."""

    def kill(self) -> None:
        """End it and all its descendants; nothing happens where it has ended."""


def launch(request: bytes, fds: tuple[int, ...]) -> Launched:
    """Start a fresh interpreter, isolated from the user's settings, in a session of its own."""
    return _Fresh(request, fds)


class _Fresh:
    """A child of this process, known with all its descendants by a mark in their environment."""

    def __init__(self, request: bytes, fds: tuple[int, ...]) -> None:
        self._mark = secrets.token_hex(16)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", MARK: self._mark}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, str(_HOME)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=fds,
            start_new_session=True,
            env=environment,
        )
        self.pid = self._process.pid
        try:
            self._process.stdin.write(request)
            self._process.stdin.close()
        except BrokenPipeError:
            pass

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def kill(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()
        end_strays(self._mark)
