"""Pinned host memory: a CPU storage with a mark. Nothing is locked; the mark and its statistics are modelled."""

from __future__ import annotations

import torch

from autograder.simgpu import compat
from autograder.simgpu.host_allocator import HostAllocator
from autograder.simgpu.registry import kernel
from autograder.simgpu.standin import in_place_of_operator

HOST = HostAllocator()
#: Factories whose pin_memory=True reaches C++ code that asks for an allocator only a device written in C++ can have.
FACTORIES = (
    "arange", "empty", "empty_like", "empty_permuted", "empty_strided", "eye", "full", "full_like", "linspace", "logspace",
    "ones", "ones_like", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "tensor",
    "zeros", "zeros_like",
)  # fmt: skip


def pin(tensor: torch.Tensor) -> torch.Tensor:
    """Mark the storage of a CPU tensor that nobody else knows yet as pinned.

    Raises RuntimeError, in PyTorch's words, for anything but a dense CPU tensor.
    """
    if not tensor.is_cpu or tensor.layout is not torch.strided:
        raise RuntimeError("Only dense CPU tensors can be pinned")
    storage = tensor.untyped_storage()
    storage._simgpu_pinned = HOST.malloc(storage.nbytes())
    return tensor


def is_pinned_storage(storage: torch.UntypedStorage) -> bool:
    """Is the memory of this CPU storage pinned?"""
    return getattr(storage, "_simgpu_pinned", None) is not None


@kernel("_pin_memory", keys=("CPU",))
def pin_memory(self, device=None):
    """tensor.pin_memory()."""
    pinned = pin(torch.empty_like(self, device="cpu"))
    pinned.copy_(self)
    return pinned


@kernel("is_pinned", keys=("CPU",))
def is_pinned(self, device=None):
    """tensor.is_pinned() of a CPU tensor."""
    return is_pinned_storage(self.untyped_storage())


@kernel("is_pinned", keys=(compat.KERNEL_KEY,))
def is_device_tensor_pinned(self, device=None):
    """tensor.is_pinned() of a device tensor."""
    return False


def with_pinning(factory):
    """A factory of torch whose ``pin_memory=True`` is served here; everything else goes straight through."""

    def make(*args, **kwargs):
        if not kwargs.get("pin_memory"):
            return factory(*args, **kwargs)
        del kwargs["pin_memory"]
        wanted = kwargs.pop("requires_grad", False)
        return pin(factory(*args, **kwargs)).requires_grad_(wanted)

    return in_place_of_operator(factory, make)


def host_memory_stats() -> dict[str, int]:
    """Blocks and bytes of pinned host memory, keyed as torch.cuda.host_memory_stats() does, without the timings."""
    return HOST.stats()


def reset_peak_host_memory_stats() -> None:
    """Let the peaks in host_memory_stats() start again from now."""
    HOST.reset_peak()


def reset_accumulated_host_memory_stats() -> None:
    """Set the "allocated" and "freed" figures in host_memory_stats() to zero."""
    HOST.reset_accumulated()
