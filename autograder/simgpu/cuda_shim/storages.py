"""Storages: torch.cuda.FloatStorage and its like, the typed ones of old scripts, and what a storage says of its device."""

from __future__ import annotations

import sys

import torch

from autograder.errors import NotSimulated
from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import asked_by_us, shown
from autograder.simgpu.devices import DEVICES

LEGACY_STORAGES = {
    f"{name}Storage"
    for name in ("BFloat16", "Bool", "Byte", "Char", "ComplexDouble", "ComplexFloat", "Double", "Float", "Half", "Int")
} | {"LongStorage", "ShortStorage"}
_raw_device = torch._C.StorageBase.device.__get__
_SENDS = "torch.multiprocessing.reductions"  # it would hand CUDA's own handles to another process


def shown_device(_) -> property:
    """UntypedStorage.device: names cuda, except to this package and to what sends storages (typed ones ask untyped ones)."""

    def device(storage) -> torch.device:
        found = _raw_device(storage)
        return found if asked_by_us() or sys._getframe(1).f_globals.get("__name__") == _SENDS else shown(found)

    return property(device)


def share_cuda(_):
    """UntypedStorage._share_cuda_(): CUDA's handles for another process (THPStorage_shareCuda, torch/csrc/StorageSharing.cpp).

    The function raises RuntimeError for a storage elsewhere, NotSimulated for one of the simulated GPU.
    """

    def _share_cuda_(self):
        if not _is_untyped_on_device(self):
            raise RuntimeError("_share_cuda_: only available on CUDA")
        raise NotSimulated("CUDA's IPC handles are not simulated: send the tensor itself through torch.multiprocessing")

    return _share_cuda_


def legacy_storage(original: type) -> type:
    """A class in the place of ``original``: calling it makes a typed storage on the device, isinstance asks for type and
    device (TypedStorage.__new__ and _LegacyStorageMeta, torch/storage.py)."""
    dtype = original._dtype if hasattr(original, "_dtype") else original.dtype

    class OfOneType(type(original)):
        def __instancecheck__(cls, thing) -> bool:
            return type(thing) is torch.storage.TypedStorage and _is_on_device(thing) and thing.dtype == dtype

    def __new__(cls, *args, **kwargs):
        if "wrap_storage" in kwargs:
            return torch.storage.TypedStorage(dtype=dtype, **kwargs)
        return torch.storage.TypedStorage(*args, dtype=dtype, device=torch.device(compat.NAME, DEVICES.current()))

    return OfOneType(original.__name__, (original,), {"__module__": "torch.cuda", "__new__": __new__})


def _is_on_device(storage) -> bool:
    return _is_untyped_on_device(storage._untyped_storage)


def _is_untyped_on_device(storage) -> bool:
    return _raw_device(storage).type == compat.NAME
