"""The host: its cores, how much memory it can spare for a simulated device, and its environment variables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

STAGED_AT_ONCE = 64 << 10
"""Bytes up to which CUDA takes pageable memory along to the device without waiting ("memory copies from host to device of a
memory block of 64 KB or less", CUDA C++ Programming Guide, "Concurrent Execution between Host and Device")."""
_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use in bytes, for version 2 and version 1 of Linux control groups (a container's own limit)."""


def available_memory(read: Callable[[str], str] = lambda path: Path(path).read_text()) -> int | None:
    """Return the bytes that can still be used here, or None where the system does not say (not Linux).

    The least of what the machine has left (``MemAvailable`` in /proc/meminfo) and what the container's limit leaves.
    """
    known = [_machine(read), *(_container(read, *files) for files in _CGROUP_FILES)]
    return min((nbytes for nbytes in known if nbytes is not None), default=None)


def _machine(read: Callable[[str], str]) -> int | None:
    try:
        lines = read("/proc/meminfo").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _container(read: Callable[[str], str], limit_file: str, use_file: str) -> int | None:
    try:
        limit, use = read(limit_file).strip(), read(use_file).strip()
    except OSError:
        return None
    return max(0, int(limit) - int(use)) if limit.isdigit() and use.isdigit() else None


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables, and put back what was there, also after an error.

    (``nbgrader.utils.setenv`` deletes them instead: PATH would be gone.)
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
