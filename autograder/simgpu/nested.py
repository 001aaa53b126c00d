"""Strided nested tensors of the device: one buffer on the device, sizes and offsets on the host, as PyTorch keeps them.

Kernels that only read or rearrange sizes, or copy the buffer, are the CPU's own, redispatched. All others run on the host
memory behind the buffer, and their results get buffers of their own. Source: ATen/NestedTensorImpl.h,
ATen/native/nested/. Jagged nested tensors are a Python class over ordinary tensors and need nothing here.
"""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import compat, randomness, schema
from autograder.simgpu.devices import OURS, placed
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import CPU, on_device, unwrap, wrap

_aten = torch.ops.aten
_OVER_BUFFER = (
    "_nested_tensor_size", "_nested_tensor_storage_offsets", "_nested_tensor_strides", "_to_copy", "alias", "chunk",
    "clone", "copy_", "detach", "empty_like", "is_same_size", "narrow", "select.int", "split_with_sizes", "squeeze",
    "squeeze.dim", "squeeze.dims", "transpose.int", "unbind.int", "unsqueeze", "values", "view",
)  # fmt: skip
_FROM_DENSE = ("_nested_from_padded", "_nested_tensor_from_mask")
_NOT_HERE = ("_pin_memory", "is_pinned")


def install(library) -> None:
    """Register a kernel for every operator that the CPU has for nested tensors."""
    for name in sorted(compat.names_of_kernels("NestedTensorCPU").difference(_NOT_HERE)):
        operator = compat.overload(name)
        if name in _OVER_BUFFER:
            run = placed(functools.partial(compat.redispatch(operator), compat.NESTED_CPU_KEYS))
        else:
            run = placed(functools.partial(_on_host, schema.plan(operator)))
        library.impl(name, run, compat.NESTED_KEY)
    for name in _FROM_DENSE:
        library.impl(name, placed(functools.partial(_on_host, schema.plan(compat.overload(name)))), compat.KERNEL_KEY)
    library.impl("is_pinned", lambda self, device=None: False, compat.NESTED_KEY)


@kernel("_nested_view_from_buffer")
def view_from_buffer(buffer, sizes, strides, offsets):
    """A nested tensor over a flat device tensor."""
    return _view(compat.CPU_KEYS, buffer, sizes, strides, offsets)


_view = compat.redispatch(_aten._nested_view_from_buffer.default)


def _on_host(plan, *args, **kwargs):
    host_args = [_to_host(value) for value in args]
    host_kwargs = {name: _to_host(value) for name, value in kwargs.items()}
    if plan.random:
        result = randomness.call(plan, host_args, host_kwargs)
    else:
        result = plan.call(*host_args, **host_kwargs)
    written = plan.written_returns
    if written and written[0] is not None:
        return schema.argument(written[0], args, kwargs)
    return _to_device(result)


def _to_host(value):
    if isinstance(value, torch.Tensor):
        if not on_device(value):
            return value
        return _unwrap_nested(value) if value.is_nested else unwrap(value)
    if isinstance(value, (list, tuple)):
        return [_to_host(item) for item in value]
    return CPU if isinstance(value, torch.device) and value.type in OURS else value


def _to_device(value):
    if isinstance(value, torch.Tensor):
        return _wrap_nested(value) if value.is_nested else wrap(value)
    if isinstance(value, (list, tuple)):
        return [_to_device(item) for item in value]
    return value


def _layout(nested: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return nested._nested_tensor_size(), nested._nested_tensor_strides(), nested._nested_tensor_storage_offsets()


def _buffer(storage: torch.UntypedStorage, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(0, dtype=dtype, device=CPU).set_(storage, 0, [storage.nbytes() // dtype.itemsize], [1])


def _unwrap_nested(nested: torch.Tensor) -> torch.Tensor:
    """The nested CPU tensor over the same memory."""
    record = getattr(nested.untyped_storage(), "_simgpu_record", None)
    host = torch.UntypedStorage(0) if record is None else record.host
    return _aten._nested_view_from_buffer(_buffer(host, nested.dtype), *_layout(nested))


def _wrap_nested(nested: torch.Tensor) -> torch.Tensor:
    """A nested device tensor over the memory of a nested CPU tensor."""
    return view_from_buffer(wrap(_buffer(nested.untyped_storage(), nested.dtype)), *_layout(nested))
