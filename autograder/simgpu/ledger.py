"""The one live ledger: which device storages are alive, and what was copied and waited for.

A record hangs on the Python object of each device storage, which dies exactly when the C++ storage dies. That may be
in any thread, also inside the garbage collector, so a weak reference only puts itself into a queue then, without
running Python code that an interrupt could cut short; the queue is drained at the next allocation or question.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable

import torch

from autograder.errors import SimGpuUnavailable
from autograder.simgpu import interrupts
from autograder.simgpu.allocator import AllocatorSettings, Block, CachingAllocator, OutOfMemory
from autograder.simgpu.counters import Counters
from autograder.simgpu.deaths import DEATHS, Death, note_with_stack
from autograder.simgpu.device_asserts import ASSERTS
from autograder.simgpu.timeline import Timeline
from autograder.simgpu.traffic import Traffic
from autograder.units import GiB

DEFAULT_CAPACITY = 2 * GiB
_BAD_FORK = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
    "you must use the 'spawn' start method"
)
_chores: deque = deque()


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
    reference : weakref.ref
        The device storage.
    tag : object
        Free slot for whoever watches the ledger.
    """

    __slots__ = ("aliases", "block", "host", "nbytes", "reference", "tag")

    def __init__(self, host: torch.UntypedStorage, nbytes: int, index: int = 0):
        self.block = LEDGER.allocate(nbytes, index) if nbytes else None
        self.host = host
        self.nbytes = nbytes
        self.aliases = {}
        self.tag = None

    @property
    def device(self) -> int:
        """Index of the device whose memory this is."""
        return 0 if self.block is None else self.block.pool.allocator.device

    @property
    def data_ptr(self) -> int:
        """The device's address of the first byte, as the storage shows it; 0 for an empty storage."""
        return 0 if self.block is None else self.block.address

    def storage(self) -> torch.UntypedStorage | None:
        """The live device storage, or None once it is gone."""
        return self.reference()


class Ledger(Traffic):
    """Counts for all simulated devices; thread-safe (backward runs in a thread of its own).

    Attributes
    ----------
    allocators : list of CachingAllocator
        One per device.
    allocator : CachingAllocator
        That of device 0.
    timeline : Timeline
        Which work of which stream has finished.
    settles : callable or None
        To be called before the first allocation; ``environment_settings`` says for what.
    stream_now : callable or None
        Gives the number of a device's current stream; None as long as no thread ever left the default streams.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY):
        self.timeline = Timeline()
        self.allocators = [CachingAllocator(capacity, timeline=self.timeline)]
        self.allocator = self.allocators[0]
        self.stream_now: Callable[[int], int] | None = None
        self.watcher: Callable[[Record], None] | None = None
        self.sync_mode = 0
        self.in_bad_fork = False
        self.settles: Callable[[], None] | None = None
        self._lock = threading.RLock()
        self._live: dict[int, Death] = {}
        self._raw: dict[int, Block] = {}
        self._on_death: Callable[[Death], None] = DEATHS.append
        self._zero()

    # memory
    def allocate(self, nbytes: int, index: int = 0, stream: int | None = None):
        """A block of at least ``nbytes`` on a device, for its current stream or another.

        Raises torch.OutOfMemoryError, or RuntimeError in a forked child.
        """
        if self.in_bad_fork:
            raise RuntimeError(_BAD_FORK)
        if interrupts.kept:
            interrupts.deliver()
        if ASSERTS.reported:
            ASSERTS.refuse()
        with self._lock:
            if self.settles is not None:
                self.settles()
            if DEATHS or _chores:
                self.drain()
            try:
                if stream is None:
                    stream = 0 if self.stream_now is None else self.stream_now(index)
                return self.allocators[index].malloc(nbytes, stream)
            except OutOfMemory as error:
                raise torch.OutOfMemoryError(str(error)) from None

    def allocate_raw(self, nbytes: int, index: int, stream: int) -> int:
        """The address of a block that no storage owns, 0 for no bytes. Raises as ``allocate`` does."""
        if not nbytes:
            return 0
        block = self.allocate(nbytes, index, stream)
        self._raw[block.address] = block
        return block.address

    def free_raw(self, address: int) -> None:
        """Give back the block that ``allocate_raw`` gave. Raises RuntimeError, in CUDA's words, if none is there."""
        if not address:
            return
        with self._lock:
            block = self._raw.pop(address, None)
            if block is None:
                raise RuntimeError(f"invalid device pointer: {address:#x}")
            block.pool.allocator.free(block, stacks=block.pool.allocator.stacks_for_release())

    def drain(self) -> None:
        """Give the blocks of dead storages back to the allocator."""
        with self._lock:
            while DEATHS:
                death = DEATHS.popleft()
                block = death.block
                self._live.pop(block.address, None)
                block.pool.allocator.free(block, stacks=getattr(death, "stacks", None))
            while _chores:
                _chores.popleft()()

    def do_later(self, chore: Callable[[], None]) -> None:
        """Have something done when blocks are given back next; can be called from ``__del__``."""
        _chores.append(chore)

    def enroll(self, record: Record, storage: torch.UntypedStorage) -> None:
        """Tie a record to its storage: once that is gone, the block is free."""
        block = record.block
        if block is None:
            reference = weakref.ref(storage)
        else:
            reference = self._live[block.address] = Death(storage, self._on_death)
            reference.block = block
        record.reference = record.host._simgpu_storage = reference
        storage._simgpu_record = record

    def note_frees(self) -> None:
        """Note who frees a block, if a recorder of an allocator asks for it now; else not any more, which costs less."""
        asked = any(allocator.stacks_at_free is not None for allocator in self.allocators)
        self._on_death = note_with_stack if asked else DEATHS.append
        with self._lock:
            for record in self.live():
                storage = record.reference()
                if storage is not None:
                    self.enroll(record, storage)

    def abandon(self, record: Record) -> None:
        """Take back the block of a record whose storage could not be made."""
        with self._lock:
            block = record.block
            if block is not None and block.address not in self._live:
                block.pool.allocator.free(block)

    def live(self) -> list[Record]:
        """Records of all storages alive now, in no particular order."""
        self.drain()
        with self._lock:
            storages = [reference() for reference in self._live.values()]
        records = (getattr(storage, "_simgpu_record", None) for storage in storages)
        return [record for record in records if record is not None]

    def record_at(self, address: int) -> Record | None:
        """The record of the live storage that an address on a device lies in, or None."""
        return next((r for r in self.live() if r.data_ptr <= address < r.data_ptr + max(r.nbytes, 1)), None)

    def watch(self, callback: Callable[[Record], None] | None) -> None:
        """Call ``callback(record)`` after each allocation of a device storage (in the thread that makes it)."""
        self.watcher = callback

    def counters(self, device: int | None = None) -> Counters:
        """All figures at once; memory of one device, or of all together (then the peak is the sum of their peaks)."""
        self.drain()
        chosen = self.allocators if device is None else [self.allocators[device]]
        return Counters(
            sum(allocator.allocated for allocator in chosen),
            sum(allocator.reserved for allocator in chosen),
            sum(allocator.peak_allocated for allocator in chosen),
            sum(allocator.allocation_count for allocator in chosen),
            self._h2d_count,
            self._h2d_bytes,
            self._d2h_count,
            self._d2h_bytes,
            self._syncs,
            self._peer_count,
            self._peer_bytes,
        )

    def reset_peak(self, device: int = 0) -> None:
        """Forget a device's peak: it starts again from what is allocated now."""
        self.drain()
        self.allocators[device].reset_peak()

    def record_stream(self, block, stream: torch.Stream) -> None:
        """Note that a stream works on a block: see CachingAllocator.record_stream."""
        with self._lock:
            block.pool.allocator.record_stream(block, stream.stream_id, stream.device_index)

    def begin(self) -> None:
        """Start with unused devices: nothing reserved, all counts zero; only while nothing is alive. Their number,
        capacities, settings and memory fractions stay."""
        self.drain()
        for index, before in enumerate(self.allocators):
            self.allocators[index] = self._new(index, before.capacity, before.settings)
            self.allocators[index].memory_fraction = before.memory_fraction
        self.allocator = self.allocators[0]
        self._zero()

    def configure(self, settings: AllocatorSettings) -> None:
        """Start with these allocator settings on every device."""
        self.allocators = [self._new(a.device, a.capacity, settings) for a in self.allocators]
        self.begin()

    def settle(self) -> None:
        """Do what is to be done before the devices are used."""
        if self.settles is not None:
            self.settles()

    def change_settings(self, text: str) -> None:
        """Apply a text of settings to every device, on top of what the environment asks for. Raises
        AllocatorSettingsError for what torch refuses and for what is not modelled."""
        with self._lock:
            self.settle()
            settings = self.allocator.settings.updated(text)
            self.drain()
            for allocator in self.allocators:
                allocator.settings = settings

    def set_device_count(self, devices: int) -> None:
        """Have this many devices from now on, each as large and set as the first.

        Raises SimGpuUnavailable when a device that would go is in use.
        """
        with self._lock:
            self.drain()
            if any(allocator.reserved for allocator in self.allocators[devices:]):
                raise SimGpuUnavailable(
                    f"cannot go back to {devices} simulated devices: a later one is in use. "
                    "Delete its tensors and call torch.simgpu.empty_cache() first."
                )
            del self.allocators[devices:]
            while len(self.allocators) < devices:
                first = self.allocator
                self.allocators.append(self._new(len(self.allocators), first.capacity, first.settings))

    def _new(self, index: int, capacity: int, settings: AllocatorSettings) -> CachingAllocator:
        return CachingAllocator(capacity, device=index, settings=settings, timeline=self.timeline)

    def after_fork(self) -> None:
        """In a forked child: a device that was in use in the parent cannot be used here."""
        self._lock = threading.RLock()
        self.in_bad_fork = any(allocator.allocation_count for allocator in self.allocators)


LEDGER = Ledger()
