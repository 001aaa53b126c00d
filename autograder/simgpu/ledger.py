"""The one live ledger: which device storages are alive, and what was copied and waited for.

A record hangs on the Python object of each device storage, so it dies exactly when the C++ storage dies. Its
``__del__`` may run in any thread, also inside the garbage collector, so it only appends the block to a queue; the
queue is drained at the next allocation or question.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch

from autograder.simgpu import frames
from autograder.simgpu.allocator import CachingAllocator, OutOfMemory
from autograder.simgpu.device_asserts import ASSERTS
from autograder.units import GiB

DEFAULT_CAPACITY = 2 * GiB
_BAD_FORK = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
    "you must use the 'spawn' start method"
)
_SYNC = "called a synchronizing CUDA operation"
_freed_blocks: deque = deque()


class Counters(NamedTuple):
    """allocated, reserved, peak: bytes now. The others: counts and bytes since the process started."""

    allocated: int
    reserved: int
    peak: int
    allocations: int
    h2d_count: int
    h2d_bytes: int
    d2h_count: int
    d2h_bytes: int
    syncs: int


class Record:
    """What one device storage holds: its host memory and its allocator block.

    Attributes
    ----------
    nbytes : int
        Bytes asked for.
    block : Block or None
        The allocator's block (None for an empty storage).
    host : torch.UntypedStorage
        The CPU memory behind the device storage.
    aliases : dict
        CPU tensors over ``host``, by (dtype, offset, size, stride).
    tag : object
        Free slot for whoever watches the ledger.
    """

    __slots__ = ("__weakref__", "aliases", "block", "host", "nbytes", "reference", "tag")

    def __init__(self, host: torch.UntypedStorage, nbytes: int):
        self.block = None
        self.block = LEDGER.allocate(nbytes) if nbytes else None
        self.host = host
        self.nbytes = nbytes
        self.aliases = {}
        self.tag = None

    def __del__(self, _free=_freed_blocks.append):
        if self.block is not None:
            _free(self.block)

    @property
    def data_ptr(self) -> int:
        """Host address of the first byte."""
        return self.host.data_ptr()

    def storage(self) -> torch.UntypedStorage | None:
        """The live device storage, or None once it is gone."""
        return self.reference()


class Ledger:
    """Counts for one simulated device; thread-safe (backward runs in a thread of its own)."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY):
        self.allocator = CachingAllocator(capacity)
        self.watcher: Callable[[Record], None] | None = None
        self.sync_mode = 0
        self.in_bad_fork = False
        self._lock = threading.RLock()
        self._live: dict[int, weakref.ref] = {}
        self._h2d_count = self._h2d_bytes = self._d2h_count = self._d2h_bytes = self._syncs = 0

    # memory
    def allocate(self, nbytes: int):
        """A block of at least ``nbytes``. Raises torch.OutOfMemoryError, or RuntimeError in a forked child."""
        if self.in_bad_fork:
            raise RuntimeError(_BAD_FORK)
        ASSERTS.refuse()
        with self._lock:
            if _freed_blocks:
                self.drain()
            try:
                return self.allocator.malloc(nbytes)
            except OutOfMemory as error:
                raise torch.OutOfMemoryError(str(error)) from None

    def drain(self) -> None:
        """Give the blocks of dead storages back to the allocator."""
        with self._lock:
            while _freed_blocks:
                block = _freed_blocks.popleft()
                self._live.pop(block.address, None)
                self.allocator.free(block)

    def enroll(self, record: Record, storage: torch.UntypedStorage) -> None:
        """Tie a record to its storage."""
        record.reference = weakref.ref(storage)
        storage._simgpu_record = record
        record.host._simgpu_storage = record.reference
        if record.block is not None:
            self._live[record.block.address] = record.reference

    def live(self) -> list[Record]:
        """Records of all storages alive now, in no particular order."""
        self.drain()
        with self._lock:
            storages = [reference() for reference in self._live.values()]
        return [storage._simgpu_record for storage in storages if storage is not None]

    def watch(self, callback: Callable[[Record], None] | None) -> None:
        """Call ``callback(record)`` after each allocation of a device storage (also from autograd's thread)."""
        self.watcher = callback

    def counters(self) -> Counters:
        """All figures at once."""
        self.drain()
        allocator = self.allocator
        return Counters(
            allocator.allocated,
            allocator.reserved,
            allocator.peak_allocated,
            allocator.allocation_count,
            self._h2d_count,
            self._h2d_bytes,
            self._d2h_count,
            self._d2h_bytes,
            self._syncs,
        )

    def reset_peak(self) -> None:
        """Forget the peak: it starts again from what is allocated now."""
        self.drain()
        self.allocator.reset_peak()

    # traffic
    def copied_to_device(self, nbytes: int) -> None:
        """Count one host-to-device copy."""
        with self._lock:
            self._h2d_count += 1
            self._h2d_bytes += nbytes

    def copied_to_host(self, nbytes: int) -> None:
        """Count one device-to-host copy."""
        with self._lock:
            self._d2h_count += 1
            self._d2h_bytes += nbytes

    def synced(self, times: int = 1) -> None:
        """Count an operation that makes the host wait; warn or raise in the sync debug modes 1 and 2, as CUDA does."""
        with self._lock:
            self._syncs += times
        ASSERTS.report()
        if self.sync_mode == 1:
            warnings.warn(_SYNC, stacklevel=frames.user_stacklevel())
        elif self.sync_mode == 2:
            raise RuntimeError(_SYNC)

    def waited(self) -> None:
        """Count a wait that never warns: synchronize(), a non-blocking copy of pageable memory."""
        with self._lock:
            self._syncs += 1
        ASSERTS.report()

    def begin(self) -> None:
        """Start with an unused device: nothing reserved, all counts zero. Only while nothing is alive."""
        self.drain()
        self.allocator = CachingAllocator(self.allocator.capacity)
        self._h2d_count = self._h2d_bytes = self._d2h_count = self._d2h_bytes = self._syncs = 0

    def after_fork(self) -> None:
        """In a forked child: a device that was in use in the parent cannot be used here."""
        self._lock = threading.RLock()
        self.in_bad_fork = self.allocator.allocation_count > 0


LEDGER = Ledger()
