"""A Dask cluster that is already running: any number of machines, one submission per worker thread.

Start it as you like (``dask scheduler`` and ``dask worker``, dask-jobqueue on Slurm, Kubernetes); each worker needs this
package installed, and bubblewrap where submissions are to be confined.
"""

from __future__ import annotations

import logging
import re
from concurrent.futures import Future

from autograder.errors import GradingFailed
from autograder.grading import work
from autograder.grading.job import Job, Result

_SECONDS_TO_CONNECT = 20
_RETRIES = 2
"""How often a job is tried again after an exception on the way; workers that die are Dask's own business."""


class ClusterEngine:
    """The workers of one scheduler."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise GradingFailed(
                "--scheduler needs the package 'distributed'; install it with pip install 'autograder[cluster]'"
            ) from None
        for name in ("distributed.client", "distributed.scheduler"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not re.search(r":\d+$", address):  # Dask's own complaint takes a minute, with a traceback behind it
            raise GradingFailed(f"expected the scheduler's address, such as tcp://host:8786, got {address!r}")
        try:
            self._client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise GradingFailed(
                f"expected a Dask scheduler at {address!r}, found none ({error}); start one with `dask scheduler`"
            ) from None
        self.workers = sum(worker["nthreads"] for worker in self._client.scheduler_info(-1)["workers"].values())
        if not self.workers:
            self._client.close()
            raise GradingFailed(f"the scheduler at {address!r} has no workers yet; start some with `dask worker {address}`")
        self.place = f"{self.workers} Dask worker threads at {address}"
        self._open: dict[str, object] = {}

    def submit(self, key: str, job: Job) -> Future:
        """Have a job executed by the cluster; if its worker dies, another one does it again."""
        ours: Future = Future()
        theirs = self._client.submit(work.do, job, key=f"grade-{key}", retries=_RETRIES, pure=False)
        self._open[key] = theirs
        theirs.add_done_callback(lambda done: self._arrived(key, done, ours))
        return ours

    def _arrived(self, key: str, theirs, ours: Future) -> None:
        """Runs in the client's own thread for callbacks."""
        try:
            result = theirs.result()
        except Exception as error:  # noqa: BLE001 - KilledWorker, CancelledError, a lost connection: all are results
            result = Result(lost=f"the cluster gave it up: {type(error).__name__}: {str(error).splitlines()[0]}")
        self._open.pop(key, None)
        if not ours.done():
            ours.set_result(result)

    def close(self) -> None:
        """Take back what has not been executed, and leave the cluster running."""
        if self._open:
            self._client.cancel(list(self._open.values()), force=True)
        self._client.close()
