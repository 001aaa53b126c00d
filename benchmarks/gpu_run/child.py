"""A child of a run, seen from its parent: sent items, listened to with a time limit, ended with all that it started."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu_run.parts import Part

ROOT = Path(__file__).resolve().parents[2]
MARK = "AUTOGRADER_ON_GPU"
"""The environment variable by which everything that a child started is known, whatever session it went into."""
_GLANCE_SECONDS = 0.2
_LAST_CHARACTERS = 1500


class Silent(Exception):
    """The child said nothing for too long."""


class Stopped(Exception):
    """The time of the part, or of the run, is over."""


class Ended(Exception):
    """The child is gone; says how, and what it said last on stderr."""


class Child:
    """``python -m benchmarks.gpu_run.worker MODULE DEVICE`` under way."""

    def __init__(self, part: Part, device: str, variables: dict[str, str], over: Callable[[], bool]) -> None:
        self.variables, self._over, self._mark = variables, over, secrets.token_hex(8)
        self._buffer, self._lines = b"", []
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        environment = {**os.environ, **variables, MARK: self._mark, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_run.worker", part.module, device, *part.needs],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    def send(self, item: str) -> None:
        """Ask for one item. A child that is gone is noticed when it is listened to."""
        try:
            self._process.stdin.write(item.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass

    def hear(self, silence: float) -> dict:
        """The next line that the child says. Raises Silent, Stopped or Ended."""
        heard = time.monotonic()
        while not self._lines:
            if self._over():
                raise Stopped
            if time.monotonic() - heard > silence:
                raise Silent(f"hung: said nothing for {silence:g} s and was stopped")
            if not select.select([self._process.stdout], [], [], _GLANCE_SECONDS)[0]:
                continue
            arrived = os.read(self._process.stdout.fileno(), 1 << 16)
            if not arrived:
                raise Ended(self._epitaph())
            *whole, self._buffer = (self._buffer + arrived).split(b"\n")
            self._lines += whole
        return json.loads(self._lines.pop(0))

    def _epitaph(self) -> str:
        self._kill()
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip()[-_LAST_CHARACTERS:]
        return f"crashed: the process ended with {how}; it said last: {last or 'nothing'}"

    def end(self) -> None:
        """End it and whatever it started. Calling it again is fine."""
        self._kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            try:
                stream.close()
            except OSError:
                pass

    def _kill(self) -> None:
        wanted = f"{MARK}={self._mark}".encode()
        while strays := [pid for pid in _others() if wanted in _environment(pid)]:
            for pid in strays:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            self._process.poll()
        self._process.wait()


def _others() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _environment(pid: int) -> list[bytes]:
    """How a process' environment began; empty for one that ended (a zombie's cannot be read)."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
