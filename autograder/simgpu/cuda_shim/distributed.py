"""torch.distributed while "cuda" means the simulated GPU: what was asked of NCCL is done by gloo."""

from __future__ import annotations

import functools


def over_gloo(original):
    """init_process_group: "nccl", "cpu:gloo,cuda:nccl" and no backend at all mean gloo, for every device.

    A process group bound to a device (``device_id``) would start NCCL early; gloo has nothing to start.
    """

    @functools.wraps(original)
    def init_process_group(backend=None, *args, **kwargs):
        kwargs.pop("device_id", None)
        if backend is None or "nccl" in str(backend):
            backend = "gloo"
        return original(backend, *args, **kwargs)

    return init_process_group


def group_over_gloo(original):
    """new_group."""

    @functools.wraps(original)
    def new_group(ranks=None, timeout=None, backend=None, *args, **kwargs):
        kwargs.pop("device_id", None)
        if backend is not None and "nccl" in str(backend):
            backend = "gloo"
        return original(ranks, timeout, backend, *args, **kwargs)

    return new_group
