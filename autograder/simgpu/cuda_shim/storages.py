"""Storages: what they say of their device, and torch.cuda.FloatStorage and its like, the typed storages of old scripts."""

from __future__ import annotations

import sys

import torch

from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import shown
from autograder.simgpu.devices import DEVICES

_raw_device = torch._C.StorageBase.device.__get__
_TOLD_THE_TRUTH = ("autograder.", "torch.multiprocessing.")

LEGACY_STORAGES = {
    f"{name}Storage"
    for name in ("BFloat16", "Bool", "Byte", "Char", "ComplexDouble", "ComplexFloat", "Double", "Float", "Half", "Int")
} | {"LongStorage", "ShortStorage"}


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
    return storage._untyped_storage.device.type == compat.NAME


def _device(storage):
    """Where the storage is; the simulated GPU calls itself cuda, except to this package and to torch.multiprocessing,
    which would send a storage of CUDA through CUDA's driver (reduce_tensor and reduce_typed_storage, reductions.py)."""
    device = _raw_device(storage)
    if device.type != compat.NAME:
        return device
    asking = str(sys._getframe(1).f_globals.get("__name__"))
    return device if asking.startswith(_TOLD_THE_TRUTH) else shown(device)


STORAGE_DEVICE = property(_device)
