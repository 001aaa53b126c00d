"""Bubblewrap's command line for a sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterable

from autograder.grading.confine.paths import mounts
from autograder.grading.confine.settings import Confinement

USER = 65534
"""User and group number inside; outside it is whoever grades, without any privilege."""
ACCOUNTS = f"student:x:{USER}:{USER}:student:/tmp:/bin/sh\n"
"""The only account that ``/etc/passwd`` shows."""

_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs", "mtrr", "driver")
_PROC_HIDDEN = ("acpi", "asound", "kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats",
                "sched_debug", "scsi", "timer_list", "vmallocinfo")  # fmt: skip
_OWN = ("--unshare-all", "--unshare-user", "--disable-userns", "--new-session", "--clearenv", "--as-pid-1")


def command(bwrap: str, writable: Iterable[str], confinement: Confinement, accounts_fd: int) -> list[str]:
    """Return bubblewrap and its options, without the program to run.

    ``accounts_fd`` is where bubblewrap reads ``ACCOUNTS`` from. ``/tmp`` comes before what is shown below it.
    """
    size = str(confinement.tmp_size)
    line = [bwrap, *_OWN, "--uid", str(USER), "--gid", str(USER), "--hostname", "grader"]
    line += [*_proc(), "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--size", size, "--tmpfs", "/tmp"]
    for word, path in mounts(confinement.readable, confinement.hidden):
        line += _mount(word, path)
    line += ["--ro-bind-data", str(accounts_fd), "/etc/passwd"]
    for path in confinement.devices:
        line += ["--dev-bind", path, path]
    for path in writable:
        line += ["--bind", path, path]
    return [*line, "--remount-ro", "/dev", "--remount-ro", "/"]


def _proc() -> list[str]:
    """The sandbox's own ``/proc``, without what lets root change or read the machine.

    Where root grades, student code has no capability but is still user 0 outside: the kernel lets that user write
    ``/proc/sys``, and bubblewrap 0.8 does not cover it, since the folder itself is not writable.
    """
    line = ["--proc", "/proc"]
    for name in _PROC_READ_ONLY:
        if os.path.exists(f"/proc/{name}"):
            line += ["--ro-bind", f"/proc/{name}", f"/proc/{name}"]
    for name in _PROC_HIDDEN:
        if os.path.exists(f"/proc/{name}"):
            line += _mount("hide", f"/proc/{name}")
    return line


def _mount(word: str, path: str) -> list[str]:
    if word == "hide":
        return ["--tmpfs", path, "--remount-ro", path] if os.path.isdir(path) else ["--ro-bind", os.devnull, path]
    if os.path.islink(path) and os.path.dirname(path) == "/":
        return ["--symlink", os.readlink(path), path]
    return ["--ro-bind", path, path]
