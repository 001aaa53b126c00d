"""torch.simgpu.memory: the memory functions of torch.cuda.memory, over the simulated allocators. Sizes are bytes.

``device`` is an index, a torch.device or its name; without one, the current device is meant.
"""

from __future__ import annotations

import collections
import pickle
import sys
import types

import torch

from autograder.simgpu import history
from autograder.simgpu.devices import DEVICES
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.mempool import MemPool, use_mem_pool  # noqa: F401 - this module's interface
from autograder.simgpu.snapshot import take_snapshot


def _allocator(device=None):
    LEDGER.drain()
    return LEDGER.allocators[DEVICES.resolve(device)]


def memory_allocated(device=None) -> int:
    """Bytes of blocks in use now."""
    return _allocator(device).allocated


def max_memory_allocated(device=None) -> int:
    """Most bytes in use at once since the start or reset_peak_memory_stats()."""
    return _allocator(device).peak_allocated


def memory_reserved(device=None) -> int:
    """Bytes of segments taken from the device, in use or cached."""
    return _allocator(device).reserved


def max_memory_reserved(device=None) -> int:
    """Most bytes reserved at once."""
    return _allocator(device).peak_reserved


def reset_peak_memory_stats(device=None) -> None:
    """Let the peaks start again from now."""
    _allocator(device).reset_peak()


def reset_accumulated_memory_stats(device=None) -> None:
    """Set the cumulative counts in memory_stats() to zero."""
    _allocator(device).reset_accumulated()


def memory_stats(device=None) -> dict:
    """All figures, keyed as torch.cuda.memory_stats does."""
    return collections.OrderedDict(_allocator(device).stats())


def memory_stats_as_nested_dict(device=None) -> dict:
    """memory_stats() as a tree."""
    tree: dict = {}
    for key, value in memory_stats(device).items():
        *path, leaf = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def empty_cache() -> None:
    """Give cached segments that are wholly free back, on every device."""
    LEDGER.drain()
    for allocator in LEDGER.allocators:
        allocator.empty_cache()


def mem_get_info(device=None) -> tuple[int, int]:
    """(free, total) bytes of the device; cached memory is not free."""
    allocator = _allocator(device)
    return max(allocator.free_bytes, 0), allocator.capacity


def set_capacity(nbytes: int, device=None) -> None:
    """Change the size of a simulated device; of every one, if none is named."""
    for allocator in LEDGER.allocators if device is None else [_allocator(device)]:
        allocator.capacity = int(nbytes)


def set_per_process_memory_fraction(fraction: float, device=None) -> None:
    """Let this process use only a part of the device."""
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    LEDGER.settle()
    _allocator(device).memory_fraction = fraction


def get_per_process_memory_fraction(device=None) -> float:
    """The part of the device that this process may use."""
    return _allocator(device).memory_fraction


def memory_summary(device=None, abbreviated: bool = False) -> str:
    """The table of torch.cuda.memory_summary: PyTorch's own code, run over our figures."""
    source = torch.cuda.memory.memory_summary
    names = dict(
        vars(torch.cuda.memory),
        memory_stats=memory_stats,
        _get_device_index=lambda device, **k: DEVICES.resolve(device),
    )
    return types.FunctionType(source.__code__, names)(device, abbreviated)


def memory_snapshot(mempool_id=None, include_traces: bool = True) -> list[dict]:
    """The segments of all devices and their blocks; of one MemPool, if its id is given."""
    LEDGER.drain()
    return take_snapshot(LEDGER.allocators, mempool_id or (0, 0))["segments"]


def get_allocator_backend() -> str:
    """The caching allocator, "native"; cudaMallocAsync is not modelled."""
    return "native"


def _set_allocator_settings(env: str) -> None:
    """Apply allocator settings to every device, as torch.cuda.memory._set_allocator_settings does.

    Raises AllocatorSettingsError, which is a ValueError, for what torch refuses and for what is not modelled.
    """
    LEDGER.change_settings(env)


def _get_allocator_settings() -> str:
    """The text that the settings were last read from (torch._C._accelerator_getAllocatorSettings)."""
    return LEDGER.allocator.settings.text


def _snapshot(device=None, augment_with_fx_traces: bool = False) -> dict:
    """Segments and recorded events of all devices, in the format of torch.cuda.memory._snapshot()."""
    LEDGER.drain()
    return take_snapshot(LEDGER.allocators)


def _dump_snapshot(filename: str = "dump_snapshot.pickle", augment_with_fx_traces: bool = False) -> None:
    """Write a snapshot for https://pytorch.org/memory_viz."""
    with open(filename, "wb") as file:
        pickle.dump(_snapshot(), file)


def _record_memory_history(enabled="all", *args, **kwargs) -> None:
    """Start ("all", "state") or stop (None) recording what the allocators of all devices do, as
    torch.cuda.memory._record_memory_history does, and with its arguments; a bool means the form of before torch 2.1.

    Raises RuntimeError, in CUDA's words, for what it does not know. There are no C++ stacks, compile contexts and
    annotations to record.
    """
    if isinstance(enabled, bool):
        return _record_legacy(enabled, *args, **kwargs)
    return _record(enabled, *args, **kwargs)


def _record(
    enabled="all",
    context="all",
    stacks="all",
    max_entries: int = sys.maxsize,
    device=None,
    clear_history: bool = False,
    compile_context: bool = False,
    global_record_annotations: bool = False,
    skip_actions: list[str] | None = None,
) -> None:
    history.begin(enabled, context, stacks, max_entries, clear_history, skip_actions=skip_actions)


def _record_legacy(
    enabled: bool,
    record_context=True,
    trace_alloc_max_entries=1,
    trace_alloc_record_context=False,
    device=None,
    record_context_cpp=False,
    clear_history=False,
    compile_context=False,
    global_record_annotations=False,
    skip_actions=None,
) -> None:
    history.begin_legacy(
        enabled,
        record_context,
        trace_alloc_max_entries,
        trace_alloc_record_context,
        clear_history=clear_history,
        skip_actions=skip_actions,
    )


def attach_out_of_memory_observer(observer) -> None:
    """Call ``observer(device, wanted, total, free)`` before an allocation fails on any device; sizes in bytes."""
    for allocator in LEDGER.allocators:
        allocator.oom_observers.append(observer)


def raw_alloc(nbytes: int, stream: int) -> int:
    """The address of a block of the current device that no tensor has; 0 for no bytes (CUDACachingAllocator::raw_alloc)."""
    return LEDGER.allocate_raw(nbytes, DEVICES.current(), stream)


def raw_delete(address: int) -> None:
    """Give such a block back. Raises RuntimeError for an address that is none's."""
    LEDGER.free_raw(address)


def _set_memory_metadata(metadata: str) -> None:
    """Note this text with what this thread's allocations do from now on."""
    history.set_metadata(metadata)


def _get_memory_metadata() -> str:
    """The text that is noted now."""
    return history.get_metadata()


def _allocation_traceback(data_ptr: int) -> list[dict] | None:
    """The frames that allocated the block at an address, if they were recorded."""
    return history.traceback_of(data_ptr)
