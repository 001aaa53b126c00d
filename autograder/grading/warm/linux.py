"""The few system calls that Python's library does not offer."""

from __future__ import annotations

import ctypes
import os

_USER, _MOUNTS, _PROCESSES, _NETWORK, _IPC, _HOST_NAME = 1 << 28, 1 << 17, 1 << 29, 1 << 30, 1 << 27, 1 << 26
_SET_DUMPABLE, _DROP_FROM_BOUNDING_SET, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVILEGES = 4, 24, 36, 38
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter(pidfd: int) -> None:
    """Move this process into another's namespaces; into that of processes go only its children."""
    _checked(_libc.setns(pidfd, _USER | _MOUNTS | _PROCESSES | _NETWORK | _IPC | _HOST_NAME), "setns")


def drop_privileges() -> None:
    """Give up all capabilities, and every way to regain one. Entering a sandbox had given them, for the sandbox only."""
    for number in range(_CAPABILITIES):
        _libc.prctl(_DROP_FROM_BOUNDING_SET, number, 0, 0, 0)  # fails for numbers that this Linux does not know
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _checked(_libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")


def own_proc_entries() -> None:
    """Let this process read its own ``/proc/self`` again, which a change of credentials forbids."""
    _checked(_libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def adopt_orphans() -> None:
    """Make descendants whose parents ended children of this process."""
    _checked(_libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "child subreaper")
