"""Folders that last as long as the process that made them, whatever ends it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "agrun-"
_LONGEST = 60
"""Characters of a folder's path: that of a unix socket below it may have 107 bytes."""
_YOUNG_SECONDS = 600
"""A folder as young as this may not be locked yet by whoever makes it."""


class Scratch:
    """A new empty folder, locked while this process needs it. The first one removes those that killed processes left."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        if len(folder) > _LONGEST:
            os.rmdir(folder)
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")
        self.path = Path(folder)
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _sweep(self.path.parent)

    def close(self) -> None:
        """Remove the folder. May be called twice."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


@functools.lru_cache
def _sweep(parent: Path) -> None:
    """Remove the folders that nobody holds a lock on."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS:
                remove_if_abandoned(folder)


def remove_if_abandoned(folder: Path) -> bool:
    """Remove a folder unless a living process holds it; say whether it was removed."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
