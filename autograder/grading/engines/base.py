"""What the grader asks of an engine."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from autograder.grading.job import Job


class Engine(Protocol):
    """Executes jobs somewhere.

    Attributes
    ----------
    workers : int
        How many jobs run at the same time.
    place : str
        Where, in words.
    """

    workers: int
    place: str

    def submit(self, key: str, job: Job) -> Future:
        """Have a job executed; the future's result is a ``Result``, never an exception."""

    def close(self) -> None:
        """Give everything back; jobs that still run are stopped."""
