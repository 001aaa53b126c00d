"""What a fix must achieve. Each check raises ``CheckFailed``, or prints one line and returns its points.

Used as ``ag.check.flat(trace)``. All take ``points=`` (the plain number returned, 1 unless told) and ``exercise=``
(whose hints a failure points to). Behaviour first, then memory: begin with ``same``. ``depth_of`` is no check: it measures a graph.
"""

from __future__ import annotations

from autograder.checks.ceilings import peak, reserved, resting
from autograder.checks.counts import allocations, copies, syncs
from autograder.checks.graphs import depth_of, graph_depth, no_graph
from autograder.checks.growth import flat
from autograder.checks.kinds import device, dtype
from autograder.checks.results import same
from autograder.checks.storages import storage

__all__ = [
    "allocations",
    "copies",
    "depth_of",
    "device",
    "dtype",
    "flat",
    "graph_depth",
    "no_graph",
    "peak",
    "reserved",
    "resting",
    "same",
    "storage",
    "syncs",
]
