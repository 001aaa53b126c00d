"""What is shown while a class is graded: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from autograder.grading.tally import Tally

_EVERY = 10.0
"""Seconds between lines where there is no terminal."""
_LIVE = 0.25


class Display:
    """Shows done of total, how they came out, the rate and the time left, until it is left. Writes to stderr only."""

    def __init__(self, tally: Tally, place: str) -> None:
        self._tally, self._place = tally, place
        self._total = self._saved = 0
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._console = Console(file=sys.stderr)

    def __enter__(self):
        return self

    def begin(self, total: int) -> None:
        """Start to show; ``total`` is how many submissions are to be graded."""
        self._total, self._started = total, time.monotonic()
        target = self._live if self._console.is_terminal else self._lines
        self._thread = threading.Thread(target=target, name="progress", daemon=True)
        self._thread.start()

    def saved(self, student: str) -> None:
        """One more submission's scores are in the gradebook."""
        self._saved += 1

    def __exit__(self, *exc_info) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def line(self) -> str:
        """Return the state of the run as one line."""
        done, rate = self._done, self._rate()
        left = f", about {60 * (self._total - done) / rate:.0f} s left" if rate and done < self._total else ""
        counts = f" ({self._tally})" if self._tally.done else ""
        return (
            f"{done} of {self._total} executed{counts}, {self._saved} saved, {rate:.0f} a minute, "
            f"{time.monotonic() - self._started:.0f} s{left}"
        )

    @property
    def _done(self) -> int:
        return max(self._tally.done, self._saved)

    def _rate(self) -> float:
        """Submissions a minute so far."""
        seconds = time.monotonic() - self._started
        return 60 * self._done / seconds if seconds else 0.0

    def _lines(self) -> None:
        while not self._over.wait(_EVERY):
            self._console.print(self.line(), highlight=False, soft_wrap=True)
        self._console.print(self.line(), highlight=False, soft_wrap=True)

    def _live(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TextColumn("{task.fields[rate]:.0f} a minute"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(f"grading on {self._place}", total=self._total, counts="", rate=0.0)
            while not self._over.wait(_LIVE):
                bar.update(task, completed=self._done, counts=str(self._tally), rate=self._rate())
            bar.update(task, completed=self._done, counts=str(self._tally), rate=self._rate())
