"""Hand the kernels to PyTorch's dispatcher."""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import (  # noqa: F401 - importing the rooms signs their kernels in
    attention,
    autocast,
    batch_norm,
    collectives,
    compat,
    convolution,
    copies,
    dispatch,
    embedding,
    factories,
    host,
    nested,
    norms,
    operator_table,
    products,
    refusals,
    registry,
    rnn,
    rnn_cells,
    sparse,
    sync_norms,
    transformer,
    views,
)
from autograder.simgpu.devices import placed

_KEPT_FOR_LIFE = []


def install() -> None:
    """Register our kernels, the generic fallback, CUDA's operators and autocast. Once per process.

    Kernels run with their tensors' device as the current one. Views are PyTorch's own code and make no storage.
    """
    library = torch.library.Library("aten", "IMPL")
    fallbacks = torch.library.Library("_", "IMPL")
    _KEPT_FOR_LIFE.extend((library, fallbacks))
    for name, function, key in registry.KERNELS:
        library.impl(name, function if isinstance(function, functools.partial) else placed(function), key)
    fallbacks.fallback(dispatch.fallback, compat.KERNEL_KEY)
    for key in compat.SPARSE_KEYS:
        fallbacks.fallback(sparse.fallback, key)
    fallbacks.fallback(refusals.quantize, compat.QUANTIZED_KEY)
    sparse.install(library)
    nested.install(library)
    for name in composite_where_cuda_is_fused():
        library.impl(name, dispatch.kernel_for(compat.overload(name)), compat.KERNEL_KEY)
    autocast.install(library, fallbacks)
    collectives.install()


def composite_where_cuda_is_fused() -> list[str]:
    """Operators with a CUDA kernel for which an extra device would get PyTorch's composite one.

    Layer norm, foreach and all structured operators are among them: left alone, they would make temporaries that CUDA
    does not make.
    """
    known = compat.operator_names()
    composite = ("CompositeExplicitAutogradNonFunctional", "CompositeExplicitAutograd")
    found = []
    for name in sorted(operator_table.with_kernel_for("CUDA")):
        full = f"aten::{name}"
        if full not in known or compat.has_kernel(full, compat.KERNEL_KEY):
            continue
        if any(compat.has_kernel(full, key) for key in composite):
            found.append(name)
    return found
