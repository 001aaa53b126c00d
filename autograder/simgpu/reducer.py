"""DistributedDataParallel that looks for unused parameters: its reducer takes pinned memory from C++.

With ``find_unused_parameters=True`` or a static graph the reducer stages a map of the parameters used through pinned host
memory (``Reducer::all_reduce_local_used_map``, torch/csrc/distributed/c10d/reducer.cpp), and asks C++ for the device's
pinned allocator, which only a device written in C++ can have. So from the first such model on ``aten::empty`` and ``aten::empty_strided``
for the CPU are served here: pinned memory by ``host.py``, all else by PyTorch's own kernel. That costs each CPU factory some
microseconds, which is why other programs are spared it.
"""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import compat, host
from autograder.simgpu.storage import on_device

_NAMES = ("empty.memory_format", "empty_strided")
_kept_for_life: list[torch.library.Library] = []


def install() -> None:
    """Notice such models when they are made. Once per process, where torch was built with torch.distributed."""
    if not torch.distributed.is_available():
        return
    model = torch.nn.parallel.DistributedDataParallel
    model._ddp_init_helper = _noticing(model._ddp_init_helper)
    model._set_static_graph = _noticing(model._set_static_graph)


def _noticing(method):
    @functools.wraps(method)
    def call(self, *args, **kwargs):
        needed = self.find_unused_parameters or self.static_graph or method.__name__ == "_set_static_graph"
        if needed and any(map(on_device, self.parameters())):
            serve_pinned_memory_in_cpp()
        return method(self, *args, **kwargs)

    return call


def serve_pinned_memory_in_cpp() -> None:
    """From now on let at::empty(..., pin_memory=True) and its kin work wherever they are called. Done once."""
    if _kept_for_life:
        return
    library = torch.library.Library("aten", "IMPL")
    _kept_for_life.append(library)
    with compat.replacing_kernels_of_torch():
        for name in _NAMES:
            served = functools.partial(_empty, compat.kernel_of(name, "CPU"))
            library.impl(name, served, "CPU", allow_override=True)


def _empty(original, *sizes, pin_memory=None, **options):
    made = original(*sizes, **options)
    return host.pin(made) if pin_memory else made
