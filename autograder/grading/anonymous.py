"""Names that stand for students' ids when grades or notebooks are shared: always the same for a course, unlike any id."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

_LENGTH = 10


class Anonymous:
    """Gives each student of a course one name, from a key that stays in the course's folder.

    Parameters
    ----------
    key_file : Path
        Where the key lies; it is made if it is not there. Whoever has it can find out who is who.
    """

    def __init__(self, key_file: Path) -> None:
        self._key = _key(Path(key_file))

    def name(self, student: str) -> str:
        """Return the name that stands for a student's id."""
        digest = hmac.new(self._key, student.encode(), hashlib.sha256).hexdigest()
        return f"student-{digest[:_LENGTH]}"


def _key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        key = secrets.token_bytes(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(key.hex())
        return key
