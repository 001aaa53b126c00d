"""Results on disk, written before they are reported: what was executed is not lost when the driver is stopped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from autograder.grading.job import Result


class Results:
    """A folder with one file per result that has not been written to the gradebook yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def get(self, key: str) -> Result | None:
        """Return the result of a job, None if there is none or its file is damaged."""
        try:
            return Result.from_json(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def put(self, key: str, result: Result) -> None:
        """Keep a result; a reader sees all of it or nothing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=self._folder, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(result.to_json())
        os.replace(part, self._path(key))

    def drop(self, key: str) -> None:
        """Forget a result: its scores are in the gradebook."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
