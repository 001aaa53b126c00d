"""Where jobs are executed: workers of this machine, or a Dask cluster."""

from autograder.grading.engines.base import Engine
from autograder.grading.engines.choice import engine_for

__all__ = ["Engine", "engine_for"]
