"""A place where a student's code can hurt nobody: bubblewrap builds it, limits hold in it, and all of it dies at once.

Knows nothing of notebooks, kernels or gradebooks: a process enters through ``Sandbox.pidfd``.
"""

from autograder.grading.confine.availability import available, decide
from autograder.grading.confine.sandbox import Sandbox
from autograder.grading.confine.settings import Confinement

__all__ = ["Confinement", "Sandbox", "available", "decide"]
