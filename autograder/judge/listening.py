"""Reads lines from a process that may write anything, at any length, for ever, or close its end and live on."""

from __future__ import annotations

import os
import select
import time

MOST_BYTES = 1 << 20
"""A longer line is dropped: no report of ours comes near it."""
_AT_ONCE = 1 << 16


class Lines:
    """The complete lines that arrived on a pipe; what is buffered never exceeds ``MOST_BYTES``."""

    def __init__(self, reader: int) -> None:
        os.set_blocking(reader, False)
        self._reader = reader
        self._buffer = b""
        self._closed = False

    def arrived(self, seconds: float) -> list[bytes]:
        """Wait at most ``seconds`` for bytes, and return the lines that they complete."""
        if self._closed:
            time.sleep(seconds)
            return []
        select.select([self._reader], [], [], seconds)
        return self._read()

    def left(self) -> list[bytes]:
        """Return what a writer that has ended left in the pipe, even if others hold the pipe open and write on."""
        lines = []
        for _ in range(MOST_BYTES // _AT_ONCE):
            lines += self._read()
        return lines

    def _read(self) -> list[bytes]:
        try:
            data = os.read(self._reader, _AT_ONCE)
        except BlockingIOError:
            return []
        self._closed = not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MOST_BYTES:
            self._buffer = b""
        return lines
