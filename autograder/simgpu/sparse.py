"""Sparse tensors of the device: their indices and values are device tensors, everything else is PyTorch's CPU code.

Metadata operators are the CPU's own kernels, redispatched. All others unwrap (no copy), run on the CPU, and wrap.
"""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import compat, dispatch, schema
from autograder.simgpu.devices import DEVICES, placed
from autograder.simgpu.storage import CPU, unwrap, wrap

_aten = torch.ops.aten
_COO, _COMPRESSED = compat.SPARSE_KEYS
_COO_METADATA = (
    "_coalesced_", "_dimI", "_dimV", "_indices", "_nnz", "_sparse_coo_tensor_with_dims",
    "_sparse_coo_tensor_with_dims_and_tensors", "_values", "clone", "copy_", "copy_sparse_to_sparse_", "dense_dim",
    "empty.memory_format", "empty_like", "indices", "is_coalesced", "resize_as_sparse_", "sparse_dim", "sparse_resize_",
    "sparse_resize_and_clear_", "unsqueeze", "values", "zero_",
)  # fmt: skip
_COMPRESSED_METADATA = (
    "_nnz", "ccol_indices", "clone", "col_indices", "copy_", "crow_indices", "dense_dim", "empty.memory_format",
    "row_indices", "sparse_dim", "values",
)  # fmt: skip
_ON_THE_CPU_ONLY = {"_sparse_mm_reduce_impl", "_sparse_mm_reduce_impl_backward"}
_COLUMNS_FIRST = (torch.sparse_csc, torch.sparse_bsc)


def install(library) -> None:
    """Register the kernels: metadata redispatched, the rest where PyTorch's composite kernels would come first."""
    for key, twin, keys_of_twin, metadata in (
        (_COO, "SparseCPU", compat.SPARSE_CPU_KEYS, _COO_METADATA),
        (_COMPRESSED, "SparseCsrCPU", compat.SPARSE_CSR_CPU_KEYS, _COMPRESSED_METADATA),
    ):
        for name in metadata:
            library.impl(name, placed(functools.partial(compat.redispatch(compat.overload(name)), keys_of_twin)), key)
        for name in sorted(
            compat.names_of_kernels(twin).difference(metadata, ("_to_copy", "is_pinned", "_pin_memory"))
        ):
            library.impl(name, functools.partial(fallback, compat.overload(name)), key)
        library.impl("_to_copy", to_copy, key)
        library.impl("is_pinned", lambda self, device=None: False, key)


def fallback(op, *args, **kwargs):
    """Any other operator with a sparse operand."""
    plan, pairs = schema.plan(op), []
    if plan.short in _ON_THE_CPU_ONLY:
        raise NotImplementedError(f"PyTorch has {plan.op} for sparse tensors on the CPU only; CUDA refuses it, too")
    result = dispatch.run(plan, args, kwargs, pairs=pairs)
    for where in filter(None, plan.written_returns):
        written = schema.argument(where, args, kwargs)
        for tensor, alias in pairs:
            if tensor is written and tensor.layout is torch.sparse_coo:
                _aten.copy_sparse_to_sparse_(tensor, wrap(alias))
    return result


def to_copy(self, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False, memory_format=None):
    """tensor.to(...) of a sparse tensor, part by part: each is counted as a copy of its own."""
    target = self.device if device is None else device
    index_parts, values = parts(self)
    moved = [part.to(target, non_blocking=non_blocking, copy=True) for part in index_parts]
    return assemble(self, moved, values.to(target, dtype or self.dtype, non_blocking=non_blocking, copy=True), target)


def parts(tensor: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The index tensors and the values of a sparse tensor of any layout."""
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices()], tensor._values()
    if tensor.layout in _COLUMNS_FIRST:
        return [tensor.ccol_indices(), tensor.row_indices()], tensor.values()
    return [tensor.crow_indices(), tensor.col_indices()], tensor.values()


def assemble(like: torch.Tensor, indices: list[torch.Tensor], values: torch.Tensor, device) -> torch.Tensor:
    """A sparse tensor of the size and layout of ``like`` over these parts."""
    options = {"dtype": values.dtype, "layout": like.layout, "device": device}
    if like.layout is not torch.sparse_coo:
        return _aten._sparse_compressed_tensor_unsafe(*indices, values, like.size(), **options)
    dims = like.sparse_dim(), like.dense_dim(), like.size()
    coalesced = like.is_coalesced()
    return _aten._sparse_coo_tensor_with_dims_and_tensors(*dims, *indices, values, is_coalesced=coalesced, **options)


def wrap_sparse(host: torch.Tensor) -> torch.Tensor:
    """A device tensor over the parts of a sparse CPU tensor."""
    indices, values = parts(host)
    return assemble(host, [wrap(part) for part in indices], wrap(values), torch.device(compat.NAME, DEVICES.current()))


def unwrap_sparse(tensor: torch.Tensor) -> torch.Tensor:
    """The CPU tensor over the same parts as a sparse device tensor."""
    indices, values = parts(tensor)
    return assemble(tensor, [unwrap(part) for part in indices], unwrap(values), CPU)
