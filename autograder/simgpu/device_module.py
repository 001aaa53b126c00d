"""torch.simgpu: the functions that torch.cuda offers, for the simulated devices."""

from __future__ import annotations

import torch

from autograder.simgpu import compat
from autograder.simgpu import device_memory as memory  # noqa: F401 - this module's interface
from autograder.simgpu.device_asserts import (  # noqa: F401 - this module's interface
    device_side_asserts,
    reset_device,
    set_device_side_asserts,
)
from autograder.simgpu.device_memory import (  # noqa: F401 - this module's interface
    MemPool,
    empty_cache,
    get_allocator_backend,
    get_per_process_memory_fraction,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_snapshot,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_peak_memory_stats,
    set_capacity,
    set_per_process_memory_fraction,
    use_mem_pool,
)
from autograder.simgpu.device_properties import DeviceProperties, properties_of
from autograder.simgpu.devices import DEVICES, On
from autograder.simgpu.host import (  # noqa: F401 - this module's interface
    host_memory_stats,
    reset_accumulated_host_memory_stats,
    reset_peak_host_memory_stats,
)
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.seeds import (  # noqa: F401 - this module's interface
    default_generators,
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from autograder.simgpu.streams import (  # noqa: F401 - this module's interface
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
)
from autograder.simgpu.workspaces import clear as clear_cublas_workspaces  # noqa: F401 - this module's interface
from autograder.simgpu.workspaces import enable as set_cublas_workspaces  # noqa: F401 - this module's interface

OutOfMemoryError = torch.OutOfMemoryError
_initialized = True  # torch.utils.checkpoint keeps the device's random state only if this is true
_NAME = "Simulated GPU"
_SYNC_MODES = {"default": 0, "warn": 1, "error": 2}


def is_available() -> bool:
    """Always: this module exists only once the device is registered."""
    return True


def is_initialized() -> bool:
    """Whether this process has chosen a device, asked for its properties, waited for it or had memory of it; as on CUDA,
    not in a forked child (torch.cuda._lazy_init; torch.distributed chooses a rank's device only if this is false)."""
    DEVICES.used = DEVICES.used or any(memory_stats(index).get("num_device_alloc") for index in range(DEVICES.count))
    return DEVICES.used and not LEDGER.in_bad_fork


def init() -> None:
    """From now on the device counts as initialized."""
    DEVICES.used = True


def device_count() -> int:
    """How many there are: ``simgpu.enable(devices=...)`` says."""
    return DEVICES.count


def current_device() -> int:
    """Index of the device that ``device="simgpu"`` means in this thread."""
    DEVICES.used = True
    return DEVICES.current()


def set_device(device) -> None:
    """Make a device the current one of this thread; a negative index changes nothing."""
    index = device if isinstance(device, int) else DEVICES.resolve(device)
    DEVICES.used = True
    if index >= 0:
        DEVICES.check(index)
        DEVICES.choose(index)


def can_device_access_peer(device, peer_device) -> bool:
    """Whether a device can copy straight to another one: always."""
    return DEVICES.resolve(device) != DEVICES.resolve(peer_device)


def _exchange_device(device) -> int:
    before = DEVICES.current()
    set_device(device)
    return before


def get_device_name(device=None) -> str:
    """A name that says what it is."""
    return _NAME


def get_device_capability(device=None) -> tuple[int, int]:
    """That of an A100, for code that asks whether bfloat16 works."""
    return (8, 0)


def get_device_properties(device=None) -> DeviceProperties:
    """Name and total memory in bytes; the rest as an A100."""
    DEVICES.used = True
    index = DEVICES.resolve(device)
    return properties_of(index, _NAME, LEDGER.allocators[index].capacity)


def get_amp_supported_dtype() -> list:
    """What torch.autocast("simgpu") accepts; the first one is not special, float16 is the default as on CUDA."""
    return [torch.float16, torch.bfloat16]


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Yes."""
    return True


def synchronize(device=None) -> None:
    """Wait for all streams of a device; counted as a wait."""
    DEVICES.used = True
    LEDGER.finished(DEVICES.resolve(device))
    LEDGER.waited()


def set_sync_debug_mode(debug_mode) -> None:
    """0 or "default", 1 or "warn", 2 or "error": what an operation does that makes the host wait."""
    mode = _SYNC_MODES.get(debug_mode, debug_mode)
    if mode not in (0, 1, 2):
        raise RuntimeError("invalid value of debug_mode, expected one of `default`, `warn`, `error`")
    LEDGER.sync_mode = mode


def get_sync_debug_mode() -> int:
    """0, 1 or 2."""
    return LEDGER.sync_mode


def _is_in_bad_fork() -> bool:
    return LEDGER.in_bad_fork


class device(On):
    """``with torch.simgpu.device(1):`` makes a device the current one for a while; None and -1 change nothing."""

    def __init__(self, device=None):
        unchanged = device is None or device == -1
        self.idx = -1 if unchanged else DEVICES.resolve(device)
        super().__init__(DEVICES, self.idx)

    def __enter__(self):
        if self.idx >= 0:
            super().__enter__()
        return self

    def __exit__(self, *exc_info):
        return super().__exit__(*exc_info) if self.idx >= 0 else False


class device_of(device):
    """``with torch.simgpu.device_of(tensor):`` makes a tensor's device the current one for a while."""

    def __init__(self, obj):
        super().__init__(obj.get_device() if obj.device.type == compat.NAME else -1)


__all__ = [name for name in dir() if not name.startswith("_") and name not in ("annotations", "torch")]
