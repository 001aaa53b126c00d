"""Jobs under way and their results, by key: what the preprocessors ask, and what the display of progress counts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future

from autograder.grading.engines import Engine
from autograder.grading.job import Job, Result
from autograder.grading.results import Results


class Farm:
    """An engine with a memory.

    Parameters
    ----------
    engine : Engine
        Where jobs are executed.
    results : Results, optional
        Where results are kept until their scores are in the gradebook.
    on_result : callable, optional
        Called as ``on_result(job, result)`` once per job, from any thread.
    """

    def __init__(
        self,
        engine: Engine,
        results: Results | None = None,
        on_result: Callable[[Job, Result], None] = lambda job, result: None,
    ) -> None:
        self.engine = engine
        self._results = results
        self._on_result = on_result
        self._futures: dict[str, Future] = {}
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Job) -> str:
        """Have a job executed unless its result is known or on its way; return its key."""
        key = job.key()
        with self._lock:
            known = key in self._futures
            if not known:
                self._futures[key] = self._begun(key, job)
        if not known:
            self._futures[key].add_done_callback(lambda done: self._arrived(key, job, done))
        return key

    def result(self, job: Job) -> Result:
        """Return a job's result; it is executed now if it was not submitted before."""
        return self._futures[self.submit(job)].result()

    def saved(self, job: Job) -> None:
        """Forget a job: its scores are in the gradebook."""
        key = job.key()
        with self._lock:
            self._futures.pop(key, None)
        if self._results is not None:
            self._results.drop(key)

    def close(self) -> None:
        """End the engine. What arrives from now on was cut short and is not kept."""
        self._closed = True
        self.engine.close()

    def _begun(self, key: str, job: Job) -> Future:
        known = self._results.get(key) if self._results is not None else None
        if known is None:
            return self.engine.submit(key, job)
        future: Future = Future()
        future.set_result(known)
        return future

    def _arrived(self, key: str, job: Job, done: Future) -> None:
        if self._closed or done.cancelled():
            return
        result = done.result()
        if self._results is not None and not result.lost:
            with contextlib.suppress(OSError):  # a full disk costs the memory of a result, not the result
                self._results.put(key, result)
        self._on_result(job, result)
