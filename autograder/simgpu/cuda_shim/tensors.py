"""torch.cuda's legacy types, and functions and classes that are given devices."""

from __future__ import annotations

import functools
import warnings

import torch

from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import all_to_simgpu, to_simgpu
from autograder.simgpu.standin import StandIn, in_place_of_operator
from autograder.simgpu.storage import on_device

_NOT_RECOMMENDED = (
    "The torch.cuda.*DtypeTensor constructors are no longer recommended. It's best to use methods such as "
    "torch.tensor(data, dtype=*, device='cuda') to create tensors."
)
_WARNED: list[bool] = []
_CHOSEN: list[str] = []
_LEGACY = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Char": torch.int8, "Byte": torch.uint8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Bool": torch.bool,
}  # fmt: skip
LEGACY_TYPES = {f"{name}Tensor": dtype for name, dtype in _LEGACY.items()}
"""torch.cuda.FloatTensor and its like, with the type each stands for."""


def translated(function):
    """The function, with CUDA devices among its arguments replaced."""

    def call(*args, **kwargs):
        args, kwargs = all_to_simgpu(args, kwargs)
        return function(*args, **kwargs)

    return StandIn(function, call)


def method_cuda(original):
    """Tensor.cuda(0): C++ takes the number alone for one of the simulated GPU."""

    def cuda(self, device=None, *args, **kwargs):
        if isinstance(device, int) and not isinstance(device, bool):
            device = torch.device("cuda", device)
        return original(self, device, *args, **kwargs)

    return StandIn(original, cuda)


def method_type(original):
    """Tensor.type(): "torch.cuda.FloatTensor" is said, and understood."""

    def type(self, dtype=None, non_blocking=False, **kwargs):
        if dtype is None:
            return original(self).replace(f"torch.{compat.NAME}.", "torch.cuda.")
        module, _, legacy = _full_name(dtype).rpartition(".")
        if module == "torch.cuda":
            return self.to("cuda", LEGACY_TYPES[legacy], non_blocking=non_blocking)
        return original(self, dtype, non_blocking, **kwargs)

    return StandIn(original, type)


def _full_name(kind) -> str:
    if isinstance(kind, str):
        return kind
    return f"{kind.__module__}.{kind.__name__}" if isinstance(kind, type) else ""


class _OfOneType(type):
    def __instancecheck__(cls, thing) -> bool:
        return isinstance(thing, torch.Tensor) and on_device(thing) and thing.dtype is cls.dtype


@functools.lru_cache(None)
def legacy_classes() -> dict[str, type]:
    """torch.cuda.FloatTensor and its like, by name: calling one makes a tensor, isinstance asks for type and device."""
    return {name: _legacy_class(name, dtype) for name, dtype in LEGACY_TYPES.items()}


def _legacy_class(name: str, dtype: torch.dtype) -> type:
    host = getattr(torch, name)

    def __new__(cls, *args, device=None):
        _no_longer_recommended()
        return host(*args).cuda(device)

    told = {"dtype": dtype, "layout": torch.strided, "is_cuda": True, "is_sparse": False, "is_xpu": False}
    return _OfOneType(name, (), {"__new__": __new__, "__module__": "torch.cuda", **told})


def _no_longer_recommended() -> None:
    """Tensor_new's warning (torch/csrc/tensor/python_tensor.cpp): once, or always after torch.set_warn_always(True)."""
    if torch.is_warn_always_enabled() or not _WARNED:
        _WARNED.append(True)
        warnings.warn(_NOT_RECOMMENDED, UserWarning, stacklevel=3)


def every_class(original: set) -> set:
    """torch._tensor_classes: C++'s types of CUDA tensors give way to ours."""
    return {kind for kind in original if kind.__module__ != "torch.cuda"} | set(legacy_classes().values())


def default_tensor_type(original):
    """torch.set_default_tensor_type("torch.cuda.FloatTensor"): a default type and a default device, both until the next call."""

    def set_default_tensor_type(kind, /):
        module, _, legacy = _full_name(kind).rpartition(".")
        on_cuda = module == "torch.cuda"
        if on_cuda:
            original(f"torch.{legacy}")
            torch.set_default_device("cuda")
        else:
            if _CHOSEN:
                torch.set_default_device(None)
            original(kind)
        _CHOSEN[:] = [legacy] if on_cuda else []

    _CHOSEN.clear()
    return StandIn(original, set_default_tensor_type)


def default_device_type(original):
    """torch._C._get_default_device(): that of the default tensor type. Printing leaves out this device's name."""
    return StandIn(original, lambda: "cuda" if _CHOSEN else original())


def asarray_here(original):
    """torch.asarray(..., device="cuda"): C++ compares the device with a tensor's, and would copy what is there already."""

    def asarray(obj, *args, device=None, **kwargs):
        return original(obj, *args, device=to_simgpu(device), **kwargs)

    return in_place_of_operator(original, asarray)
