"""Workers of this machine: threads that each drive one submission's processes at a time.

The work itself happens in those processes; a thread only passes messages on.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait

from autograder.grading import work
from autograder.grading.job import Job
from autograder.grading.warm import Child

_GLANCE = 0.1
"""Seconds for a worker to see that its process is gone; one that starts another loses that, too."""


class LocalEngine:
    """So many submissions at a time, here."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.place = f"{workers} local worker" + ("s" if workers > 1 else "")
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="grader")
        self._open: set[Future] = set()

    def submit(self, key: str, job: Job) -> Future:
        """Have a job executed by the next free worker."""
        future = self._pool.submit(work.do, job)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def close(self) -> None:
        """End the workers. Jobs that wait are dropped, and what runs loses its processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        while wait(list(self._open), _GLANCE).not_done:
            Child.end_all()
