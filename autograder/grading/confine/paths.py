"""Which files a sandbox shows: the system, the interpreter and its packages, this package, and nothing of a course."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
"""The folder of this package; what lies beside it (lessons, solutions, a gradebook) stays out."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_SETTINGS = ("alternatives", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "ssl")


def mounts(readable: Iterable[str] = (), hidden: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return pairs of a word for bubblewrap and a path, in the order in which they must be mounted.

    A deeper path wins: a folder can be hidden inside a readable one, and this package shown inside a hidden one.
    """
    wanted = dict.fromkeys(map(os.path.abspath, hidden), "hide")
    wanted[str(PACKAGE.parent)] = "hide"  # a checkout inside /usr would otherwise be seen with its answers
    wanted.update(dict.fromkeys(_interpreter(), "show"))
    wanted.update(dict.fromkeys(map(os.path.abspath, readable), "show"))
    wanted.update(dict.fromkeys((*_SYSTEM, *(f"/etc/{name}" for name in _SETTINGS)), "show"))
    wanted[str(PACKAGE)] = "show"
    plan = []
    for path in sorted(wanted, key=lambda path: (path.count("/"), path)):
        if os.path.exists(path) and _around(path, plan) != wanted[path]:
            plan.append((wanted[path], path))
    return plan


def _interpreter() -> list[str]:
    """Return the folders of the interpreter and its packages, and where links lead from there."""
    folders = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *site.getsitepackages()]
    folders.append(os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))))
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [path for folder in folders for path in (os.path.abspath(folder), os.path.realpath(folder)) if path != "/"]


def _around(path: str, plan: list[tuple[str, str]]) -> str:
    """Return what the innermost mount around a path does with it; without any, it is hidden."""
    inside = [(len(other), word) for word, other in plan if path.startswith(f"{other}/")]
    return max(inside, default=(0, "hide"))[1]
