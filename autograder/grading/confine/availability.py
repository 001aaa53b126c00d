"""Can this machine confine? Found out by doing it once."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

from autograder.errors import ConfinementUnavailable
from autograder.grading.confine.bubblewrap import ACCOUNTS, command
from autograder.grading.confine.settings import Confinement

_PATIENCE_SECONDS = 30
_FORBIDDEN = ("user namespace", "uid map", "namespace failed", "No permissions to create", "Operation not permitted")


def available() -> str:
    """Return "" if bubblewrap works here, else one sentence that says why not and what to do."""
    if not sys.platform.startswith("linux"):
        return f"student code cannot be confined on {sys.platform}: bubblewrap needs Linux; grade on a Linux machine"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "student code cannot be confined: there is no bwrap on PATH; install the package bubblewrap"
    return _tried(bwrap)


@functools.lru_cache
def _tried(bwrap: str) -> str:
    accounts = text_in_pipe(ACCOUNTS)
    line = command(bwrap, (), Confinement(), accounts)
    try:
        done = subprocess.run(
            [*line, "--", "/bin/sh", "-c", "exit 0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=(accounts,),
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"student code cannot be confined: {bwrap} did not run ({error}); install bubblewrap 0.8 or newer"
    finally:
        os.close(accounts)
    return "" if done.returncode == 0 else _why(done.stderr.strip() or f"exit status {done.returncode}")


def _why(said: str) -> str:
    last = said.splitlines()[-1]
    if any(phrase in said for phrase in _FORBIDDEN):
        return (
            f"student code cannot be confined: this system forbids user namespaces ({last}); "
            "have an administrator allow them for bwrap, or grade on another machine"
        )
    return f"student code cannot be confined: {last}; install bubblewrap 0.8 or newer"


def text_in_pipe(text: str) -> int:
    """Return a descriptor from which a short text can be read once."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return reader


def decide(confinement: Confinement) -> tuple[bool, str]:
    """Return whether to confine, and what must be said to whoever grades.

    Raises
    ------
    ConfinementUnavailable
        If confinement is required and not to be had.
    """
    if confinement.mode == "off":
        return False, ""
    why = available()
    if not why:
        return True, ""
    if confinement.mode == "required":
        raise ConfinementUnavailable(f"{why}. Or choose the mode `auto` to grade without confinement.")
    return False, f"{why}. Student code runs with your rights."
