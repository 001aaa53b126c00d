"""Device tensors sent to another process (torch.multiprocessing): both see the same memory, as with CUDA's IPC.

Each process has simulated GPUs of its own. The host memory behind a tensor moves to shared memory when it is sent; the
process that receives it gets a device storage over the same memory, which its own allocator does not count, as on CUDA
(``cudaIpcOpenMemHandle`` opens what the sender's caching allocator holds). CUDA keeps the sender's block until every
receiver has let go (torch/csrc/CudaIPCTypes.cpp); here the sender's block is free once the sender lets go, while the
memory itself lives on.
"""

from __future__ import annotations

from multiprocessing import reduction

import torch
from torch.multiprocessing import reductions

from autograder.simgpu import compat
from autograder.simgpu.ledger import LEDGER, Record


class OpenedRecord(Record):
    """What a storage holds whose memory belongs to another process: no block of this process's allocator."""

    __slots__ = ("_index",)

    def __init__(self, host: torch.UntypedStorage, index: int):
        super().__init__(host, 0)
        self.nbytes = host.nbytes()
        self._index = index

    @property
    def device(self) -> int:
        """Index of the device on which the memory was opened."""
        return self._index

    @property
    def data_ptr(self) -> int:
        """Where the memory was opened: an address of its own in each process, on CUDA too."""
        return self.host.data_ptr()


def install() -> None:
    """Let torch.multiprocessing send device storages. Once per process."""
    reduction.register(torch.UntypedStorage, _reduce)


def _reduce(storage: torch.UntypedStorage):
    if storage.device.type != compat.NAME:
        return reductions.reduce_storage(storage)
    record = getattr(storage, "_simgpu_record", None)
    host = torch.UntypedStorage(0) if record is None else record.host
    if host.nbytes():
        host.share_memory_()
    return opened, (host, storage.device.index)


def opened(host: torch.UntypedStorage, index: int) -> torch.UntypedStorage:
    """In the process that receives it: the device storage over shared host memory (one per memory)."""
    from autograder import simgpu

    simgpu.enable()
    reference = getattr(host, "_simgpu_storage", None)
    storage = reference() if reference is not None else None
    if storage is None:
        record = OpenedRecord(host, index)
        storage = compat.storage_at(record.data_ptr, torch.device(compat.NAME, index), record.nbytes)
        LEDGER.enroll(record, storage)
    return storage
