"""The process between the zygote and a child: starts it, says how it ended, and leaves nothing of it behind.

It also ends the child when nobody listens any more, however the process that grades ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import traceback
from pathlib import Path

from autograder.grading.warm.becoming import become
from autograder.grading.warm.linux import adopt_orphans, enter

_ROUNDS = 100
"""How often to look for orphans: ending one may orphan others."""


def tell(status: int, **event) -> None:
    """Write one line to the status pipe, if anybody still reads it."""
    with contextlib.suppress(OSError):
        os.write(status, json.dumps(event).encode() + b"\n")


def keep(request: dict, descriptors: list[int]) -> None:
    """Run in the zygote's fork; never returns. ``descriptors`` are as in the request's packet."""
    status, *rest = descriptors
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.setsid()
        for file in request["groups"]:
            Path(file).write_text("0")
        if request["confined"]:
            enter(rest[0])
        else:
            adopt_orphans()
        child = os.fork()
        if child == 0:
            become(request, rest[1:] if request["confined"] else rest)
        _close_all_but(status)
        tell(status, pid=child)
        code = _end_of(child, status)
        if not request["confined"]:
            _end_orphans()
        tell(status, exit=code)
    except BaseException:  # noqa: BLE001 - there is nobody above to hear of it
        tell(status, failed=traceback.format_exc(limit=-3))
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    os.closerange(0, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _end_of(child: int, status: int) -> int:
    """Wait for the child, or for everybody to stop reading the status pipe; return its exit status, as Popen does."""
    waiting = select.poll()
    watched = os.pidfd_open(child)
    waiting.register(watched, select.POLLIN)
    waiting.register(status, 0)  # tells only of the other end's closing
    waiting.poll()
    for kill in (os.killpg, os.kill):  # it leads a session of its own, unless it has changed that
        with contextlib.suppress(OSError):
            kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _end_orphans() -> None:
    """Kill what the child left behind; a sandbox needs no such care, for its first process takes all along."""
    for _ in range(_ROUNDS):
        children = Path("/proc/self/task", str(os.getpid()), "children").read_text().split()
        if not children:
            return
        for pid in map(int, children):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
