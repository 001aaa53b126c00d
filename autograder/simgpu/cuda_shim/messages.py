"""Errors of torch's C++ that name the device, where they can be caught on their way to the script."""

from __future__ import annotations

from autograder.simgpu import compat
from autograder.simgpu.standin import StandIn


def naming_cuda(original):
    """The function; the TypeError that it raises for a tensor on the simulated GPU says cuda, as on a real one."""

    def call(*args, **kwargs):
        try:
            return original(*args, **kwargs)
        except TypeError as error:
            if compat.NAME not in str(error):
                raise
            message = str(error).replace(compat.NAME, "cuda")
        raise TypeError(message)

    return StandIn(original, call)
