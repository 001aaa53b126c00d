"""Processes for student code, forked from one that has imported everything already; or cold ones, the same otherwise.

``zygote`` imports and forks, ``keeper`` stands between it and each child, ``becoming`` makes the child what was asked
for; ``client`` asks, from any thread of the process that grades; ``child`` is what it gets.
"""

from autograder.grading.warm.child import Child
from autograder.grading.warm.client import Warm, fork_cold, start_child

__all__ = ["Child", "Warm", "fork_cold", "start_child"]
