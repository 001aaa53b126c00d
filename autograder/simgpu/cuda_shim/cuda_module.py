"""torch.cuda while it means the simulated GPU: torch.simgpu's functions under CUDA's names, and what is missing.

Every public name of torch.cuda is in one of four groups: answered by torch.simgpu under the same name; answered here;
left as it is, because it works on top of the others or is only a constant; refused with a sentence.
"""

from __future__ import annotations

import torch

from autograder.errors import NotSimulated
from autograder.simgpu import compat
from autograder.simgpu.cuda_shim.tensors import LEGACY_TYPES, legacy_classes, translated, translated_class

LEFT = {
    "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage", "ComplexFloatStorage",
    "CudaError", "DeferredCudaCallError", "DoubleStorage", "FloatStorage", "HalfStorage", "IntStorage", "LongStorage",
    "ShortStorage", "amp", "cudaStatus", "graphs", "has_half", "has_magma", "host_memory_stats_as_nested_dict", "is_tf32_supported", "max_memory_cached",
    "memory", "memory_cached", "memory_summary", "nccl", "nvtx", "profiler", "random", "reset_max_memory_allocated",
    "reset_max_memory_cached", "sparse", "streams", "tunable",
}  # fmt: skip
"""Names that work as they are: PyTorch's own code over the figures of the others, submodules, classes nobody calls."""

_NEEDS = {
    "CUDA graphs record kernel launches, and there are no kernels to launch": (
        "CUDAGraph", "graph", "graph_pool_handle", "make_graphed_callables",
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
}  # fmt: skip
REFUSED = {name: reason for reason, names in _NEEDS.items() for name in names}
"""Names that cannot work, with the reason."""


def _memory_used(device=None) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free


ANSWERED = {
    "device_memory_used": _memory_used,
    "get_arch_list": lambda: ["sm_80"],
    "ipc_collect": lambda: None,
    "is_current_stream_capturing": lambda: False,
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
