"""Operators that a script writes itself: what it registers for CUDA is registered for the simulated GPU as well."""

from __future__ import annotations

import torch

from autograder.simgpu import compat
from autograder.simgpu.standin import StandIn

_TWINS = {"CUDA": compat.KERNEL_KEY, "AutogradCUDA": compat.AUTOGRAD_KEY, "AutocastCUDA": compat.AUTOCAST_KEY}


def impl_for_both(original):
    """torch.library.Library.impl, through which torch.library's other functions and decorators go, too."""

    def impl(library, op_name, fn, dispatch_key="", **options):
        result = original(library, op_name, fn, dispatch_key, **options)
        twin = _TWINS.get(dispatch_key or library.dispatch_key)
        if twin is not None:
            original(_free_of_key(library), op_name, fn, twin, **options)
        return result

    return StandIn(original, impl)


def _free_of_key(library: torch.library.Library) -> torch.library.Library:
    """A library that takes kernels for any key: a script's own, or one beside it that lives as long."""
    if not library.dispatch_key:
        return library
    beside = getattr(library, "_simgpu_beside", None)
    if beside is None:
        beside = library._simgpu_beside = torch.library.Library(library.ns, "IMPL")
    return beside
