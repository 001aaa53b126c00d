"""Running out of memory: the exception, and CUDA's message word for word."""

from __future__ import annotations


class OutOfMemory(Exception):
    """The device has no room for a request, even after the cache was released."""


def format_size(nbytes: int) -> str:
    """A size as the allocator's messages print it (format_size).

    >>> format_size(512), format_size(2048), format_size(40 << 20), format_size(2 << 30)
    ('512 bytes', '2.00 KiB', '40.00 MiB', '2.00 GiB')
    """
    if nbytes <= 1 << 10:
        return f"{nbytes} bytes"
    if nbytes <= 1 << 20:
        return f"{nbytes / (1 << 10):.2f} KiB"
    if nbytes <= 1 << 30:
        return f"{nbytes / (1 << 20):.2f} MiB"
    return f"{nbytes / (1 << 30):.2f} GiB"


def rejection_message(nbytes: int) -> str:
    """The text when throw_on_cudamalloc_oom refuses a request (NativeCachingAllocator::malloc)."""
    return (
        "CUDA out of memory. Allocation was preemptively rejected because it would exceed "
        f"per_process_memory_fraction limit. Requested size: {format_size(nbytes)}"
    )


def out_of_memory_message(
    *,
    wanted: int,
    device: int,
    capacity: int,
    free: int,
    allowed: int | None,
    reserved: int,
    allocated: int,
    in_private_pools: int = 0,
) -> str:
    """The text of torch.OutOfMemoryError (DeviceCachingAllocator::malloc). All sizes in bytes.

    ``allowed`` is the limit set by a memory fraction, or None; ``in_private_pools`` what they cache,
    which the message counts as allocated. The process holds nothing but what PyTorch reserved: the CUDA
    context and other programs are not modelled.
    """
    private = f"with {format_size(in_private_pools)} allocated in private pools (e.g., CUDA Graphs), "
    return (
        f"CUDA out of memory. Tried to allocate {format_size(wanted)}. "
        f"GPU {device} has a total capacity of {format_size(capacity)} of which {format_size(free)} is free. "
        f"Including non-PyTorch memory, this process has {format_size(reserved)} memory in use. "
        + (f"{format_size(allowed)} allowed; " if allowed is not None else "")
        + f"Of the allocated memory {format_size(allocated + in_private_pools)} is allocated by PyTorch, "
        + (private if in_private_pools else "")
        + f"and {format_size(reserved - allocated - in_private_pools)} is reserved by PyTorch but unallocated. "
        "If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  "
        "See documentation for Memory Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html"
        "#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)"
    )
