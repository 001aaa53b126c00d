"""Which engine serves a run."""

from __future__ import annotations

from autograder.errors import GradingFailed
from autograder.grading.engines.base import Engine
from autograder.host import cores


def engine_for(workers: int = 0, scheduler: str = "") -> Engine:
    """Return an engine.

    Parameters
    ----------
    workers : int
        Submissions at a time on this machine; 0 means one per core.
    scheduler : str
        Address of a running Dask scheduler, such as ``tcp://host:8786``; its workers are used instead.

    Raises
    ------
    GradingFailed
        If both are given, the number makes no sense, or no scheduler answers.
    """
    if scheduler and workers:
        raise GradingFailed("expected --workers or --scheduler, got both: a cluster has its own number of workers")
    if workers < 0:
        raise GradingFailed(f"expected --workers of 1 or more, got {workers}")
    if scheduler:
        from autograder.grading.engines.cluster import ClusterEngine

        return ClusterEngine(scheduler)
    from autograder.grading.engines.local import LocalEngine

    return LocalEngine(workers or cores())
