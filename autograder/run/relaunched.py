"""A script that starts itself again, one process per device, gets the same device in each of them.

Launchers do it with ``subprocess``: the same Python, the same file or module, other variables of the environment (Lightning's
``strategy="ddp"``). While a run lasts, such a command is given the words ``-m autograder run`` and the options of this run.
Other commands are left as they are.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

_WITH_A_VALUE = ("-W", "-X")


@contextlib.contextmanager
def followed(file: str, module: str | None, capacity: int, devices: int) -> Iterator[None]:
    """Let programs that are the script ``file`` again, or the module of that name, have simulated GPUs like these."""
    original = subprocess.Popen.__init__
    ours = ["-m", "autograder", "run", "--capacity", f"{capacity}B", "--devices", str(devices)]

    def __init__(self, args, *rest, **options):
        if not isinstance(args, (str, bytes, os.PathLike)):
            args = list(args)
            at = _place(args, file, module, options.get("cwd"))
            if at is not None:
                args[at:at] = ours
        original(self, args, *rest, **options)

    subprocess.Popen.__init__ = __init__
    try:
        yield
    finally:
        subprocess.Popen.__init__ = original


def _place(args: Sequence, file: str, module: str | None, folder) -> int | None:
    """Where Python's own options end, if this Python is asked for the script or the module; else None."""
    if not args or os.fspath(args[0]) != sys.executable:
        return None
    at = 1
    while at < len(args) and _is_option(args[at]):
        at += 2 if args[at] in _WITH_A_VALUE else 1
    if module is not None:
        return at if list(args[at : at + 2]) == ["-m", module] else None
    named = os.fspath(args[at]) if at < len(args) else ""
    return at if os.path.abspath(os.path.join(folder or "", named)) == file else None


def _is_option(word) -> bool:
    return isinstance(word, str) and word.startswith("-") and word not in ("-m", "-c", "-")
