"""How a check's source reaches the judge's process: when that check's turn has come, and not before.

Messages are marked with a code made from the request's secret, so that nobody else can put in a check of their own.
"""

from __future__ import annotations

import hashlib
import hmac
import os

_HEAD = 8
_MARK = hashlib.sha256().digest_size


class Outbox:
    """The parent's end of a pipe. Writing never waits: a process that does not read holds up nobody."""

    def __init__(self, writer: int, nonce: str) -> None:
        os.set_blocking(writer, False)
        self._writer, self._nonce = writer, nonce
        self._waiting = b""

    def put(self, trial: int, grade_id: str, source: str) -> None:
        """Send one check's source, now or with the next ``flush()``."""
        body = source.encode()
        message = _mark(self._nonce, trial, grade_id, body) + body
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


def receive(reader: int, nonce: str, trial: int, grade_id: str) -> str | None:
    """Read the source of the check that was asked for; None where the pipe brings anything else."""
    size = int.from_bytes(_exactly(reader, _HEAD), "big")
    message = _exactly(reader, size)
    mark, body = message[:_MARK], message[_MARK:]
    if not hmac.compare_digest(mark, _mark(nonce, trial, grade_id, body)):
        return None
    return body.decode()


def _exactly(reader: int, size: int) -> bytes:
    """Read ``size`` bytes, or fewer where the pipe ends."""
    data = b""
    while len(data) < size:
        more = os.read(reader, size - len(data))
        if not more:
            break
        data += more
    return data


def _mark(nonce: str, trial: int, grade_id: str, body: bytes) -> bytes:
    return hmac.digest(nonce.encode(), f"{trial}\0{grade_id}\0".encode() + body, "sha256")
