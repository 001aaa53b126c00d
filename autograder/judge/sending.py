"""The two pipes between the judge's process and its parent: what is said in one, checks' sources in the other.

A check's source is sent when that check's turn has come, and not before. It is marked with a code made from the request's
secret, so that nobody else can put in a check of their own; what the process says begins with the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from _hashlib import hmac_digest
from _json import encode_basestring_ascii
from collections.abc import Callable
from typing import NamedTuple

_HEAD = 8
_MARK = hashlib.sha256().digest_size
GONE = 97
"""The exit status of a process whose pipes were closed or replaced."""


class Outbox:
    """The parent's end of a pipe. Writing never waits: a process that does not read holds up nobody."""

    def __init__(self, writer: int, nonce: str) -> None:
        os.set_blocking(writer, False)
        self._writer, self._mark = writer, _marker(nonce)
        self._waiting = b""

    def put(self, trial: int, grade_id: str, source: str) -> None:
        """Send one check's source, now or with the next ``flush()``."""
        body = source.encode()
        message = self._mark(str(trial), grade_id, body) + body
        self._waiting += len(message).to_bytes(_HEAD, "big") + message
        self.flush()

    @property
    def is_empty(self) -> bool:
        """Has everything been written?"""
        return not self._waiting

    def flush(self) -> None:
        """Write as much of what waits as the pipe takes."""
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._writer, self._waiting) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._waiting = b""


def _marker(nonce: str) -> Callable[[str, str, bytes], bytes]:
    """Return what marks a source as meant for one check of one trial, and as the parent's."""
    key, digest = nonce.encode(), hmac_digest
    return lambda trial, grade_id, body: digest(key, f"{trial}\0{grade_id}\0".encode() + body, "sha256")


class Line(NamedTuple):
    """The process's ends. ``say`` writes one line of texts; ``ask`` reads one check's source."""

    say: Callable[..., None]
    ask: Callable[[str, str], str]
    descriptors: frozenset[int]


def open_line(pipe: int, checks: int, nonce: str) -> Line:
    """Return functions that enclose all they need: what a learner replaces in a module does not reach them.

    Where a descriptor no longer is the pipe it was, the process ends at once with the status ``GONE``.
    A forked copy of the process has neither pipe.
    """
    write, read, status, leave = os.write, os.read, os.fstat, os._exit
    quote, same, mark, head, width = encode_basestring_ascii, hmac.compare_digest, _marker(nonce), _HEAD, _MARK
    number, gone, trouble, prefix = int.from_bytes, GONE, OSError, f"\n{nonce} ["
    before = tuple((fd, status(fd).st_ino, status(fd).st_dev) for fd in (pipe, checks))
    held = [pipe, checks]
    os.register_at_fork(after_in_child=lambda: [os.close(held.pop()) for _ in held[:]])

    def hold() -> None:
        try:
            for fd, inode, device in before:
                now = status(fd)
                if now.st_ino != inode or now.st_dev != device:
                    leave(gone)
        except trouble:
            leave(gone)

    def say(*texts: str) -> None:
        hold()
        data = (prefix + ",".join([quote(text) for text in texts]) + "]\n").encode()
        try:
            while data:
                data = data[write(pipe, data) :]
        except trouble:
            leave(gone)

    def exactly(size: int) -> bytes:
        data = b""
        while data.__len__() < size:
            more = read(checks, size - data.__len__())
            if not more:
                leave(gone)
            data += more
        return data

    def ask(trial: str, grade_id: str) -> str:
        hold()
        try:
            message = exactly(number(exactly(head), "big"))
        except trouble:
            leave(gone)
        if not same(message[:width], mark(trial, grade_id, message[width:])):
            leave(gone)
        return message[width:].decode()

    return Line(say, ask, frozenset(held))
