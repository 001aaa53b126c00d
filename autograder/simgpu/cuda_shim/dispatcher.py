"""The dispatcher's CUDA key, served by the simulated GPU: no tensor carries that key, so only factories reach it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.simgpu.cuda_shim.devices import all_to_simgpu


@contextmanager
def cuda_key_served() -> Iterator[None]:
    """Register the fallback; unregister it at the end."""
    library = torch.library.Library("_", "IMPL")
    library.fallback(_on_simgpu, "CUDA")
    try:
        yield
    finally:
        library._destroy()


def _on_simgpu(operator, *args, **kwargs):
    args, kwargs = all_to_simgpu(args, kwargs)
    return operator(*args, **kwargs)
