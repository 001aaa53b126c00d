"""Control groups for one sandbox, where this process may make them: the surest limit on memory and processes."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import threading
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_PREFIX = "autograder-"
_TRIES, _PAUSE_SECONDS = 40, 0.025
"""A group can be removed only once its last process is gone, shortly after it was killed."""


class ControlGroups:
    """One group in the unified hierarchy (v2), or one per controller (v1); raises ``OSError`` where none may be made."""

    def __init__(self, memory: int, processes: int, root: Path = ROOT, own: str | None = None) -> None:
        own = Path("/proc/self/cgroup").read_text() if own is None else own
        plan = _unified(root, own, memory, processes) if (root / "cgroup.controllers").exists() else None
        plan = plan or _by_controller(root, memory, processes)
        self._folders: list[Path] = []
        for parent, _ in plan:
            _remove_abandoned(parent)
        try:
            for parent, values in plan:
                folder = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
                folder.mkdir()
                self._folders.append(folder)
                for file, value in values.items():
                    (folder / file).write_text(str(value))
        except OSError:
            self.close()
            raise

    @property
    def files(self) -> list[str]:
        """Return the files into which a process writes "0" to be limited."""
        return [str(folder / "cgroup.procs") for folder in self._folders]

    def exceeded(self) -> tuple[bool, bool]:
        """Return whether the limit on memory was met (a process was killed), and that on processes (a fork failed)."""
        memory = self._count("memory.events", "oom_kill") or self._count("memory.oom_control", "oom_kill")
        return bool(memory), bool(self._count("pids.events", "max"))

    def _count(self, file: str, name: str) -> int:
        for folder in self._folders:
            try:
                lines = (folder / file).read_text().splitlines()
            except OSError:
                continue
            return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)
        return 0

    def close(self) -> None:
        """Remove the groups; one whose processes do not end is left behind, empty of anything that runs."""
        for folder in self._folders:
            for _ in range(_TRIES):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    threading.Event().wait(_PAUSE_SECONDS)
        self._folders = []


@functools.lru_cache
def _remove_abandoned(parent: Path) -> None:
    """Remove the groups of processes that were killed. One that still holds processes cannot be removed anyway."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        owner = folder.name.split("-")[1]
        if not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _unified(root: Path, own: str, memory: int, processes: int) -> list[tuple[Path, dict]] | None:
    """Find the nearest group around this process whose children have both controllers."""
    ours = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    here = root / ours.strip("/")
    for parent in (here, *here.parents):
        try:
            controllers = (parent / "cgroup.subtree_control").read_text().split()
        except OSError:
            continue
        if {"memory", "pids"} <= set(controllers) and os.access(parent, os.W_OK):
            limits = {"memory.max": memory, "memory.swap.max": 0, "memory.oom.group": 1, "pids.max": processes}
            if not (root / ours.strip("/") / "memory.swap.current").exists():
                del limits["memory.swap.max"]
            return [(parent, limits)]
    return None


def _by_controller(root: Path, memory: int, processes: int) -> list[tuple[Path, dict]]:
    return [
        (root / "memory", {"memory.limit_in_bytes": memory}),
        (root / "pids", {"pids.max": processes}),
    ]
