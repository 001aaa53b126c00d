"""What torch itself says about devices, autocast, profilers and checkpoints while "cuda" means the simulated GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import shown
from autograder.simgpu.standin import StandIn

_FIRST = 0


def autocast_of_both(original):
    """torch.set_autocast_enabled and torch.set_autocast_dtype: CUDA's state is kept by torch, ours follows it."""

    def set_both(*args, **kwargs):
        original(*args, **kwargs)
        device_type = kwargs.get("device_type", args[0] if args and isinstance(args[0], str) else "cuda")
        if torch.device(device_type).type == "cuda":  # "cuda:0" is understood as well
            value = kwargs.get("enabled", kwargs.get("dtype", args[-1] if args else None))
            original(compat.NAME, value)

    return StandIn(original, set_both)


def autocast_gpu_dtype_of_both(original):
    """torch.set_autocast_gpu_dtype(dtype)."""
    return StandIn(original, lambda dtype: torch.set_autocast_dtype("cuda", dtype))


def shown_accelerator(original):
    """torch.accelerator.current_accelerator(), torch._C._get_accelerator()."""
    return StandIn(original, lambda *args, **kwargs: shown(original(*args, **kwargs)))


def shown_module(original):
    """torch.get_device_module(device): torch.cuda for the simulated GPU."""

    def get_device_module(device=None):
        module = original(device)
        return torch.cuda if module is torch.simgpu else module

    return StandIn(original, get_device_module)


def grouped_by_shown_device(original):
    """torch._C._group_tensors_by_device_and_dtype: the optimizers' groups, by device and dtype."""

    def grouped(*args, **kwargs):
        return {(shown(device), dtype): group for (device, dtype), group in original(*args, **kwargs).items()}

    return StandIn(original, grouped)


def stream_of_shown(original):
    """torch.nn.parallel._functions._get_stream(torch.device(0)): C++ makes a number a device of the simulated GPU."""
    return StandIn(original, lambda device: original(shown(device)))


def profile_on_the_host(original):
    """torch.profiler.profile(activities=...): CUDA's part is the CPU's here, else every operator complains on stderr."""

    @functools.wraps(original)
    def __init__(self, *, activities=None, **options):
        if activities is not None:
            kept = [activity for activity in activities if activity.name != "CUDA"]
            activities = kept or [torch.profiler.ProfilerActivity.CPU]
        original(self, activities=activities, **options)

    return __init__


def checkpoints_name_cuda() -> Callable[[], None]:
    """Let torch.save write ``cuda:0`` and torch.load(map_location="cuda") understand it; return what undoes it."""
    registry = torch.serialization._package_registry
    before = list(registry)
    torch.serialization.register_package(_FIRST, _tag, _restore)

    def put_back() -> None:
        registry[:] = before

    return put_back


def _tag(storage):
    device = storage.device
    return f"cuda:{device.index or 0}" if device.type == compat.NAME else None


def _restore(storage, location: str):
    if not location.startswith("cuda"):
        return None
    index = torch.device(location).index
    return getattr(storage, compat.NAME)(torch.device(compat.NAME, index or 0))
