"""Tensor methods and factories that ask C++ for a CUDA device before any operator is dispatched."""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import all_to_simgpu, to_simgpu
from autograder.simgpu.storage import on_device

_LEGACY = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Char": torch.int8, "Byte": torch.uint8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Bool": torch.bool,
}  # fmt: skip
FACTORIES = (
    "as_tensor", "asarray", "sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_coo_tensor",
    "sparse_csc_tensor", "sparse_csr_tensor", "tensor",
)  # fmt: skip
"""Factories that ask for the device themselves; the others reach the dispatcher."""
LEGACY_TYPES = {f"{name}Tensor": dtype for name, dtype in _LEGACY.items()}
"""torch.cuda.FloatTensor and its like, with the type each stands for."""


def translated(function):
    """The function, with CUDA devices among its arguments replaced."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        args, kwargs = all_to_simgpu(args, kwargs)
        return function(*args, **kwargs)

    return call


def method_cuda(original_to):
    """Tensor.cuda(): a copy on the device, or the tensor itself where it is there already."""

    def cuda(self, device=None, non_blocking=False, memory_format=torch.preserve_format):
        return original_to(self, device=_chosen(device), non_blocking=non_blocking, memory_format=memory_format)

    return cuda


def with_replaced_methods(allowed: list) -> list:
    """What may be done to a parameter without a shape (nn.LazyLinear), with the methods that stand in torch.Tensor now."""
    return [*allowed, torch.Tensor.to, torch.Tensor.cuda]


def storage_cuda(storage, device=None, non_blocking=False):
    """storage.cuda(): a copy of a CPU storage on the device."""
    return getattr(storage, compat.NAME)(_chosen(device), non_blocking)


def _chosen(device) -> torch.device:
    if device is None:
        return to_simgpu("cuda")
    if isinstance(device, int):
        return torch.device(compat.NAME, device)
    return to_simgpu(device)


def method_type(original):
    """Tensor.type(): "torch.cuda.FloatTensor" is said, and understood."""

    def type(self, dtype=None, non_blocking=False, **kwargs):
        if dtype is None:
            return original(self).replace(f"torch.{compat.NAME}.", "torch.cuda.")
        module, _, legacy = _full_name(dtype).rpartition(".")
        if module == "torch.cuda":
            return self.to(to_simgpu("cuda"), LEGACY_TYPES[legacy], non_blocking=non_blocking)
        return original(self, dtype, non_blocking, **kwargs)

    return type


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

    def __new__(cls, *args, **kwargs):
        return host(*args).to(_chosen(kwargs.get("device")))

    return _OfOneType(name, (), {"__new__": __new__, "dtype": dtype, "__module__": "torch.cuda"})


def translated_class(original: type, module: str) -> type:
    """A stand-in for a class: calling it makes the original with CUDA devices replaced; isinstance asks the original."""

    class StandIn(type):
        def __instancecheck__(cls, thing) -> bool:
            return isinstance(thing, original)

        def __subclasscheck__(cls, other) -> bool:
            return issubclass(other, original)

        def __call__(cls, *args, **kwargs):
            args, kwargs = all_to_simgpu(args, kwargs)
            return original(*args, **kwargs)

    return StandIn(original.__name__, (), {"__module__": module, "__doc__": original.__doc__})


def translated_torch_class(original: type) -> type:
    """translated_class() for a class of torch itself."""
    return translated_class(original, "torch")


def default_tensor_type(original):
    """torch.set_default_tensor_type("torch.cuda.FloatTensor"): a default type and a default device."""

    def set_default_tensor_type(kind, /):
        module, _, legacy = _full_name(kind).rpartition(".")
        if module != "torch.cuda":
            return original(kind)
        torch.set_default_dtype(LEGACY_TYPES[legacy])
        return torch.set_default_device("cuda")

    return set_default_tensor_type
