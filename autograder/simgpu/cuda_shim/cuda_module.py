"""torch.cuda while it means the simulated GPU: torch.simgpu's functions under CUDA's names, and what is missing.

Every public name of torch.cuda and of its submodules is in one of four groups: answered by torch.simgpu under the same
name; answered here; left as it is, because it works on top of the others or is only a constant; refused with a sentence.
Each keeps its kind: a class is a class, a module a module.
"""

from __future__ import annotations

import types
from collections.abc import Callable

import torch

from autograder.simgpu.cuda_shim.kinds import refusing, refusing_class, shown_class
from autograder.simgpu.cuda_shim.storages import LEGACY_STORAGES, legacy_storage
from autograder.simgpu.cuda_shim.tensors import LEGACY_TYPES, legacy_classes, translated

LEFT = {
    "CudaError", "DeferredCudaCallError", "amp", "caching_allocator_alloc", "caching_allocator_delete", "cudaStatus", "empty_cache", "graphs", "has_half", "has_magma",
    "host_memory_stats_as_nested_dict", "is_tf32_supported", "jiterator", "max_memory_cached", "memory", "memory_cached",
    "memory_snapshot", "memory_summary", "nccl", "nvtx", "profiler", "random", "reset_max_memory_allocated",
    "reset_max_memory_cached", "sparse", "streams", "tunable",
}  # fmt: skip
"""Names that work as they are: PyTorch's own code over the figures of the others, submodules, classes nobody calls."""

_GRAPHS = "CUDA graphs record kernel launches, and there are no kernels to launch"
_ONLY_PYTORCHS = "only PyTorch's own allocator is modelled"
_NO_RUNTIME = "there is no CUDA runtime behind the simulated GPU"
_NO_DRIVER = "it asks the driver, and no driver is running"
_NO_NCCL = "NCCL needs GPUs; torch.distributed works, over gloo"
_NO_TUNING = "it measures kernels of a GPU"
_NEEDS = {
    "cuda": {
        _GRAPHS: ("CUDAGraph", "graph", "graph_pool_handle", "make_graphed_callables"),
        _ONLY_PYTORCHS: (
            "CUDAPluggableAllocator", "caching_allocator_disabled", "caching_allocator_enable", "change_current_allocator",
        ),
        _NO_RUNTIME: (
            "ExternalStream", "GreenContext", "check_error", "cudart", "current_blas_handle", "current_solver_handle",
            "get_gencode_flags", "get_stream_from_external",
        ),
        _NO_DRIVER: (
            "clock_rate", "list_gpu_processes", "memory_usage", "power_draw", "temperature", "utilization",
        ),
    },
    "cuda.memory": {_ONLY_PYTORCHS: ("_get_current_allocator", "_host_allocator", "_use_uvm")},
    "cuda.nccl": {
        _NO_NCCL: ("all_gather", "all_reduce", "broadcast", "init_rank", "reduce", "reduce_scatter", "unique_id", "version"),
    },
    "cuda.profiler": {_NO_RUNTIME: ("start", "stop", "profile")},
    "cuda.tunable": {
        _NO_TUNING: (
            "enable", "get_filename", "get_max_tuning_duration", "get_max_tuning_iterations", "get_results",
            "get_rotating_buffer_size", "get_validators", "is_enabled", "mgpu_tune_gemm_in_file", "read_file",
            "record_untuned_enable", "record_untuned_is_enabled", "set_filename", "set_max_tuning_duration",
            "set_max_tuning_iterations", "set_numerical_check_tolerances", "set_rotating_buffer_size",
            "tune_gemm_in_file", "tuning_enable", "tuning_is_enabled",
        ),
    },
}  # fmt: skip
REFUSED = {
    (module, name): reason for module, needs in _NEEDS.items() for reason, names in needs.items() for name in names
}
"""Names that cannot work, by module of torch, with the reason."""


def _memory_used(device=None) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free


ANSWERED = {
    "_exchange_device": lambda device: torch.simgpu._exchange_device(device),
    "_maybe_exchange_device": lambda device: torch.simgpu._exchange_device(device),
    "device_memory_used": _memory_used,
    "get_arch_list": lambda: ["sm_80"],
    "ipc_collect": lambda: None,
    "is_current_stream_capturing": lambda: False,
}
"""Names of torch.cuda that torch.simgpu does not have."""


def answers() -> dict[str, object]:
    """Map every name of torch.cuda that is replaced to what stands in for it meanwhile."""
    found: dict[str, object] = {}
    for name in {*torch.cuda.__all__, *torch.cuda.memory.__all__, *ANSWERED}:
        if name not in LEFT:
            found[name] = _answer(name)
    return found


def refused_in_submodules() -> list[tuple[types.ModuleType, str, Callable]]:
    """(module, name, stand-in) of what is refused below torch.cuda, where this torch has the module and the name."""
    found = []
    for (path, name), reason in REFUSED.items():
        module = getattr(torch.cuda, path.removeprefix("cuda").lstrip("."), None) if path != "cuda" else None
        if hasattr(module, name):
            found.append((module, name, refusing(f"torch.{path}.{name}", reason)))
    return found


def _answer(name: str):
    original = getattr(torch.cuda, name, getattr(torch.cuda.memory, name, None))
    if name in LEGACY_TYPES:
        return legacy_classes()[name]
    if name in LEGACY_STORAGES:
        return legacy_storage(original)
    ours = getattr(torch.simgpu, name, None)
    if ours is not None:
        return _forwarded(ours)
    if name in ANSWERED:
        return ANSWERED[name]
    reason = REFUSED.get(("cuda", name), "torch.simgpu has no such function")
    if isinstance(original, type):
        return refusing_class(original, f"torch.cuda.{name}", reason)
    return refusing(f"torch.cuda.{name}", reason)


def _forwarded(ours):
    if isinstance(ours, type):
        return shown_class(ours, "torch.cuda")
    if callable(ours):
        return translated(ours)
    return tuple(ours)  # the generators, one per device


class SilentNvtx:
    """NVTX's functions: marks for a profiler that is not there."""

    @staticmethod
    def mark(*args):
        """Nothing to mark."""

    rangePushA = rangePop = rangeStartA = rangeEnd = markA = deviceRangeStart = deviceRangeEnd = mark


def no_marks(context):
    """torch.autograd.profiler.emit_nvtx.__enter__: no marks."""
    return context
