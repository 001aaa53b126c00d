"""What all processes of a sandbox use together, read from the sandbox's own ``/proc``; needs no privilege."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_THREADS = 17
"""Which field after the name in ``/proc/.../stat`` is the number of threads."""
_MOST_FILES = 50_000
"""More files than this in a scratch folder count as too much, whatever their size."""


class Usage:
    """Reads ``/proc`` as the sandbox's first process sees it: it lists the sandbox's processes and no others."""

    def __init__(self, pid: int) -> None:
        self._proc = os.open(f"/proc/{pid}/root/proc", os.O_RDONLY | os.O_DIRECTORY)

    def processes(self, most: int) -> int:
        """Return the number of processes and threads. More than ``most`` processes are seen at a glance."""
        pids = self._pids()
        if len(pids) > most:
            return len(pids)
        return sum(map(self._threads_of, pids))

    def memory_at_most(self) -> int:
        """Return an upper bound of the bytes that all hold: what forks share is counted once for each."""
        return sum(self._resident(pid) for pid in self._pids())

    def memory(self) -> int:
        """Return the bytes that all hold, shared ones counted once. Waits for processes that are forking."""
        return sum(self._memory_of(pid) for pid in self._pids())

    def _threads_of(self, pid: str) -> int:
        fields = self._read(f"{pid}/stat").rpartition(")")[2].split()
        return int(fields[_THREADS]) if len(fields) > _THREADS else 1

    def _resident(self, pid: str) -> int:
        counts = self._read(f"{pid}/statm").split()
        return (int(counts[1]) - int(counts[2])) * _PAGE if counts else 0

    def _memory_of(self, pid: str) -> int:
        lines = self._read(f"{pid}/smaps_rollup").splitlines()
        shares = [int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
        return sum(shares) if shares else self._resident(pid)  # a process may hide its maps, but not its size

    def _pids(self) -> list[str]:
        return [name for name in os.listdir(self._proc) if name.isdigit() and name != "1"]

    def _read(self, path: str) -> str:
        try:
            with open(os.open(path, os.O_RDONLY, dir_fd=self._proc), encoding="ascii", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def close(self) -> None:
        """Let go of the sandbox's ``/proc``."""
        os.close(self._proc)


def written(folder: str) -> int:
    """Return the bytes that the files below a folder take on disk."""
    size = count = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    if count > _MOST_FILES:
                        return 1 << 62
        except OSError:
            continue
    return size
