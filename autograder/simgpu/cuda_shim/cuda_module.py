"""torch.cuda while it means the simulated GPU: torch.simgpu's functions under CUDA's names, and what is missing.

Every public name of torch.cuda is in one of four groups: answered by torch.simgpu under the same name; answered here;
left as it is, because it works on top of the others or is only a constant; refused with a sentence.
"""

from __future__ import annotations

import contextlib

import torch

from autograder.errors import NotSimulated
from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.devices import to_simgpu
from autograder.simgpu.cuda_shim.tensors import LEGACY_TYPES, legacy_classes, translated, translated_class

LEFT = {
    "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage", "ComplexFloatStorage",
    "CudaError", "DeferredCudaCallError", "DoubleStorage", "FloatStorage", "HalfStorage", "IntStorage", "LongStorage",
    "ShortStorage", "amp", "cudaStatus", "graphs", "has_half", "has_magma", "is_tf32_supported", "max_memory_cached",
    "memory", "memory_cached", "memory_summary", "nccl", "nvtx", "profiler", "random", "reset_max_memory_allocated",
    "reset_max_memory_cached", "sparse", "streams", "tunable",
}  # fmt: skip
"""Names that work as they are: PyTorch's own code over the figures of the others, submodules, classes nobody calls."""

_NEEDS = {
    "CUDA graphs record kernel launches, and there are no kernels to launch": (
        "CUDAGraph", "graph", "graph_pool_handle", "make_graphed_callables", "MemPool", "use_mem_pool",
    ),
    "only PyTorch's own allocator is modelled": (
        "CUDAPluggableAllocator", "caching_allocator_alloc", "caching_allocator_delete", "caching_allocator_disabled",
        "caching_allocator_enable", "change_current_allocator",
    ),
    "there is no CUDA runtime behind the simulated GPU": (
        "ExternalStream", "GreenContext", "check_error", "cudart", "current_blas_handle", "current_solver_handle",
        "get_gencode_flags", "get_stream_from_external", "jiterator",
    ),
    "it asks the driver, and no driver is running": (
        "clock_rate", "list_gpu_processes", "memory_usage", "power_draw", "temperature", "utilization",
    ),
    "pinned memory has no cache of its own in the model": (
        "host_memory_stats", "host_memory_stats_as_nested_dict", "reset_accumulated_host_memory_stats",
        "reset_peak_host_memory_stats",
    ),
}  # fmt: skip
REFUSED = {name: reason for reason, names in _NEEDS.items() for name in names}
"""Names that cannot work, with the reason."""


def _device_of(tensor):
    index = tensor.get_device()
    return contextlib.nullcontext() if index < 0 else torch.cuda.device(index)


def _fraction(device=None) -> float:
    allocator_fraction = getattr(torch.simgpu, "get_per_process_memory_fraction", None)
    return 1.0 if allocator_fraction is None else allocator_fraction(to_simgpu(device))


def _memory_used(device=None) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free


ANSWERED = {
    "can_device_access_peer": lambda device, peer_device: device != peer_device,
    "current_stream": lambda device=None: torch.simgpu.current_stream(to_simgpu(device)),
    "device_memory_used": _memory_used,
    "device_of": _device_of,
    "get_allocator_backend": lambda: "native",
    "get_arch_list": lambda: ["sm_80"],
    "get_per_process_memory_fraction": _fraction,
    "ipc_collect": lambda: None,
    "is_current_stream_capturing": lambda: False,
    "StreamContext": lambda stream: torch.simgpu.stream(stream),
}
"""Names of torch.cuda that torch.simgpu does not have."""


def answers() -> dict[str, object]:
    """Map every name of torch.cuda that is replaced to what stands in for it meanwhile."""
    found: dict[str, object] = {}
    for name in set(torch.cuda.__all__) | set(torch.cuda.memory.__all__):
        if name not in LEFT:
            found[name] = _answer(name)
    return found


def _answer(name: str):
    if name in LEGACY_TYPES:
        return legacy_classes()[name]
    ours = getattr(torch.simgpu, name, None)
    if ours is not None:
        return _forwarded(ours)
    if name in ANSWERED:
        return ANSWERED[name]
    return _refusal(name)


def _forwarded(ours):
    if isinstance(ours, type):
        return translated_class(ours, "torch.cuda")
    return translated(ours) if callable(ours) else ours


def _refusal(name: str):
    reason = REFUSED.get(name, f"{compat.NAME} has no such function")

    def refuse(*args, **kwargs):
        raise NotSimulated(f"torch.cuda.{name} is not simulated: {reason}. Take the call out, or use a real GPU.")

    return refuse


class SilentNvtx:
    """NVTX's functions: marks for a profiler that is not there."""

    @staticmethod
    def mark(*args):
        """Nothing to mark."""

    rangePushA = rangePop = rangeStartA = rangeEnd = markA = deviceRangeStart = deviceRangeEnd = mark
