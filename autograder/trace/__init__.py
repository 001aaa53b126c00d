"""What memory did: recordings, their samples, and the lines that allocated."""

from __future__ import annotations

from autograder.trace.devices import default_device
from autograder.trace.meters import Survivor
from autograder.trace.recorder import Recording, last, record
from autograder.trace.result import Trace
from autograder.trace.samples import Counters, Sample, robust_slope
from autograder.trace.sites import Site

__all__ = [
    "Counters",
    "Recording",
    "Sample",
    "Site",
    "Survivor",
    "Trace",
    "default_device",
    "last",
    "record",
    "robust_slope",
]
