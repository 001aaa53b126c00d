"""What torch itself says about devices, autocast, compilers and checkpoints while "cuda" means the simulated GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from autograder.simgpu import compat

NOT_COMPILED: list[str] = []
"""What torch.compile was asked to compile and left eager, by name."""
_FIRST = 0


def _device_type(thing):
    if not isinstance(thing, str):
        return thing
    return compat.NAME if thing.split(":")[0] == "cuda" else thing


def device_type_translated(original):
    """An autocast function; without a device it means CUDA's, as in torch."""

    @functools.wraps(original)
    def call(*args, **kwargs):
        if "device_type" in kwargs:
            kwargs["device_type"] = _device_type(kwargs["device_type"])
        elif args and isinstance(args[0], str):
            args = (_device_type(args[0]), *args[1:])
        else:
            args = (compat.NAME, *args)
        return original(*args, **kwargs)

    return call


def autocast_gpu_dtype(original):
    """torch.get_autocast_gpu_dtype()."""
    return functools.wraps(original)(lambda: torch.get_autocast_dtype("cuda"))


def set_autocast_gpu_dtype(original):
    """torch.set_autocast_gpu_dtype(dtype)."""
    return functools.wraps(original)(lambda dtype: torch.set_autocast_dtype("cuda", dtype))


def _shown(device: torch.device | None) -> torch.device | None:
    if device is None or device.type != compat.NAME:
        return device
    return torch.device("cuda") if device.index is None else torch.device("cuda", device.index)


def shown_default_device(original):
    """torch.get_default_device()."""
    return functools.wraps(original)(lambda: _shown(original()))


def shown_accelerator(original):
    """torch.accelerator.current_accelerator()."""
    return functools.wraps(original)(lambda check_available=False: _shown(original(check_available)))


def run_eagerly(original):
    """torch.compile: the model itself, uncompiled, and a note of it."""

    @functools.wraps(original)
    def compile(model=None, **options):
        if model is None:
            return lambda decorated: compile(decorated, **options)
        NOT_COMPILED.append(getattr(model, "__name__", type(model).__name__))
        return model

    return compile


def leave_module_eager(original):
    """Module.compile()."""

    @functools.wraps(original)
    def compile(self, *args, **kwargs):
        NOT_COMPILED.append(type(self).__name__)

    return compile


def profile_on_the_host(original):
    """torch.profiler.profile(activities=...): CUDA's part is left out, else every operator complains of it on stderr."""

    @functools.wraps(original)
    def __init__(self, *, activities=None, **options):
        if activities is not None:
            activities = [activity for activity in activities if activity.name != "CUDA"]
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
