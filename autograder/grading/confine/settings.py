"""What a student's code may use, as plain data that can travel to another machine."""

from __future__ import annotations

import platform
import re
import resource
from dataclasses import asdict, dataclass, fields

GIB = 1 << 30
MIB = 1 << 20
MODES = ("required", "auto", "off")
_GRACE_SECONDS = 5
"""Between the signal that says a process has used its processor time, and its end."""
_COUNTS_PER_NAMESPACE = (5, 14)


@dataclass(frozen=True)
class Confinement:
    """Whether to confine, and the limits for all processes of one notebook together.

    Attributes
    ----------
    mode : str
        ``"required"`` refuses to run unconfined, ``"auto"`` says so and goes on, ``"off"`` does not confine.
    memory : int
        Bytes that all processes together may hold; what lies in the private ``/tmp`` counts too where Linux counts it.
    processes : int
        Processes and threads together. A kernel that did nothing yet has about ten threads.
    file_size, open_files, cpu_seconds : int
        Per process: the longest file in bytes, open files, seconds of processor time.
    tmp_size : int
        Bytes of ``/tmp`` and, once more, of ``/dev/shm``; also of what may be written into the scratch folder.
    readable : tuple of str
        More paths that may be read, such as data sets.
    hidden : tuple of str
        Paths that must not be seen even if they lie inside readable ones.
    devices : tuple of str
        Device files that may be used, such as ``/dev/nvidia0``.
    """

    mode: str = "auto"
    memory: int = 4 * GIB
    processes: int = 256
    file_size: int = GIB
    tmp_size: int = 512 * MIB
    open_files: int = 1024
    cpu_seconds: int = 600
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"confinement mode must be one of {', '.join(MODES)}; got {self.mode!r}")

    def to_json(self) -> dict:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> Confinement:
        """Return what ``to_json`` was called on; lists may stand for tuples."""
        known = {field.name for field in fields(cls)}
        unknown = set(data) - known
        if unknown:
            raise ValueError(f"unknown confinement settings: {', '.join(sorted(unknown))}; known: {sorted(known)}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})

    def rlimits(self, confined: bool) -> dict[str, tuple[int, int]]:
        """Return limits for ``resource.setrlimit``, soft and hard; none on address space, which CUDA reserves freely.

        The number of processes is limited only inside a sandbox, and where Linux counts what runs in there: otherwise
        all that the user runs would count.
        """
        limits = {
            "RLIMIT_CORE": (0, 0),
            "RLIMIT_FSIZE": (self.file_size, self.file_size),
            "RLIMIT_NOFILE": (self.open_files, self.open_files),
            "RLIMIT_CPU": (self.cpu_seconds, self.cpu_seconds + _GRACE_SECONDS),
        }
        if confined and _linux() >= _COUNTS_PER_NAMESPACE:
            limits["RLIMIT_NPROC"] = (self.processes, self.processes)
        return {name: _within_ours(name, wanted) for name, wanted in limits.items()}


def _linux() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2]))


def _within_ours(name: str, wanted: tuple[int, int]) -> tuple[int, int]:
    """No more than this process's own hard limit, which may not be raised."""
    ours = resource.getrlimit(getattr(resource, name))[1]
    if ours == resource.RLIM_INFINITY:
        return wanted
    return min(wanted[0], ours), min(wanted[1], ours)
