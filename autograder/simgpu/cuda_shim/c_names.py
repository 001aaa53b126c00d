"""What Python code asks of torch._C for CUDA (torch/csrc/cuda/Module.cpp), answered by torch.simgpu.

A build without CUDA does not have these names. PyTorch's own torch.cuda stands on them, and so do programs and test
suites that go past it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from autograder.simgpu import device_memory, history, workspaces
from autograder.simgpu.cuda_shim import comm
from autograder.simgpu.cuda_shim.kinds import refusing


def _snapshot(request=None) -> dict:
    """_cuda_memorySnapshot: of everything, or of one pool (two numbers, and whether traces are wanted)."""
    if request is None:
        return torch.simgpu.memory._snapshot()
    pool_id = tuple(request[:2])
    return {"segments": torch.simgpu.memory_snapshot(None if pool_id == (0, 0) else pool_id)}


def _host_stats() -> dict:
    """_cuda_hostMemoryStats: host_memory_stats() as a tree."""
    tree: dict = {}
    for key, value in torch.simgpu.host_memory_stats().items():
        *path, leaf = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def _set_stream(stream_id: int, device_index: int, device_type: int) -> None:
    """_cuda_setStream: choose a stream by its numbers."""
    torch.simgpu.set_stream(torch.simgpu.Stream(stream_id=stream_id, device_index=device_index))


def _numbers(stream) -> tuple[int, int, int]:
    """A stream as _cuda_getCurrentStream and its kin tell it: its number, its device, c10::DeviceType::CUDA."""
    return stream.stream_id, stream.device_index, int(torch._C._autograd.DeviceType.CUDA)


def _of_torch_simgpu(name: str) -> Callable:
    return lambda *args: getattr(torch.simgpu, name)(*args)


IN_C: dict[str, Callable] = {
    "_broadcast": comm.broadcast,
    "_broadcast_out": comm.broadcast_out,
    "_gather": comm.gather,
    "_gather_out": comm.gather_out,
    "_scatter": comm.scatter,
    "_scatter_out": comm.scatter_out,
    "_cuda_allocationTraceback": history.traceback_of,
    "_cuda_attach_out_of_memory_observer": device_memory.attach_out_of_memory_observer,
    "_cuda_canDeviceAccessPeer": _of_torch_simgpu("can_device_access_peer"),
    "_cuda_cudaCachingAllocator_raw_alloc": device_memory.raw_alloc,
    "_cuda_cudaCachingAllocator_raw_delete": device_memory.raw_delete,
    "_cuda_clearCublasWorkspaces": workspaces.clear,
    "_cuda_emptyCache": _of_torch_simgpu("empty_cache"),
    "_cuda_exchangeDevice": _of_torch_simgpu("_exchange_device"),
    "_cuda_getAllocatorBackend": _of_torch_simgpu("get_allocator_backend"),
    "_cuda_getCurrentRawStream": lambda device: torch.simgpu.current_stream(device).cuda_stream,
    "_cuda_getCurrentStream": lambda device: _numbers(torch.simgpu.current_stream(device)),
    "_cuda_getDefaultStream": lambda device: _numbers(torch.simgpu.default_stream(device)),
    "_cuda_getDevice": _of_torch_simgpu("current_device"),
    "_cuda_getDeviceCount": _of_torch_simgpu("device_count"),
    "_cuda_getMemoryMetadata": history.get_metadata,
    "_cuda_get_sync_debug_mode": _of_torch_simgpu("get_sync_debug_mode"),
    "_cuda_hostMemoryStats": _host_stats,
    "_cuda_init": _of_torch_simgpu("init"),
    "_cuda_ipc_collect": lambda: None,
    "_cuda_isHistoryEnabled": history.is_on,
    "_cuda_jiterator_compile_and_launch_kernel": refusing(
        "a function of torch.cuda.jiterator", "it compiles a kernel for a GPU"
    ),
    "_cuda_maybeExchangeDevice": _of_torch_simgpu("_exchange_device"),
    "_cuda_memorySnapshot": _snapshot,
    "_cuda_memoryStats": _of_torch_simgpu("memory_stats_as_nested_dict"),
    "_cuda_record_memory_history": history.begin,
    "_cuda_record_memory_history_legacy": history.begin_legacy,
    "_cuda_resetAccumulatedMemoryStats": _of_torch_simgpu("reset_accumulated_memory_stats"),
    "_cuda_resetPeakMemoryStats": _of_torch_simgpu("reset_peak_memory_stats"),
    "_cuda_setDevice": _of_torch_simgpu("set_device"),
    "_cuda_setMemoryFraction": _of_torch_simgpu("set_per_process_memory_fraction"),
    "_cuda_setMemoryMetadata": history.set_metadata,
    "_cuda_setStream": _set_stream,
    "_cuda_set_sync_debug_mode": _of_torch_simgpu("set_sync_debug_mode"),
    "_cuda_sleep": lambda cycles: None,  # kernels take no time
    "_cuda_synchronize": _of_torch_simgpu("synchronize"),
}
