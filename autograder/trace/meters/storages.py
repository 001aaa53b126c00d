"""The books of a device's storages, kept by watching every operator (``TorchDispatchMode``).

For plain CPU tensors they are the whole ledger; on CUDA they add to the allocator's own figures which line allocated
what. A storage is booked when an operator returns it, and struck off when PyTorch frees it: a small object tied to the
storage's Python object sees to that, so nothing here keeps memory alive.

What is missed: storages made before the mode was entered or on threads that do not inherit it, memory used inside an
operator, and the tensors of sparse layouts.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autograder.trace.meters.base import HISTORY_EVENTS
from autograder.trace.meters.transfers import Transfers
from autograder.trace.samples import Counters

ROUNDING = 512
"""Bytes: CUDA's allocator hands out multiples of this (``kMinBlockSize``, c10/core/AllocatorConfig.h)."""

_tensor_lists = (list, tuple)


class Block(NamedTuple):
    """The memory of a booked storage: address, rounded size, requested bytes."""

    address: int
    size: int
    requested: int


class StorageRecord:
    """One live storage in the books."""

    __slots__ = ("block", "data_ptr", "nbytes", "tag")

    def __init__(self, nbytes: int, data_ptr: int) -> None:
        self.tag = None
        self.set_size(nbytes, data_ptr)

    def set_size(self, nbytes: int, data_ptr: int) -> None:
        """Note the storage's size in bytes and its address, when booked and when resized."""
        self.nbytes = nbytes
        self.data_ptr = data_ptr
        self.block = Block(data_ptr, -(-nbytes // ROUNDING) * ROUNDING, nbytes)


class _Tie:
    """Lives on the storage's Python object and dies with the storage."""

    __slots__ = ("books", "key")

    def __init__(self, books: StorageLedger, key: int) -> None:
        self.books = books
        self.key = key

    def __del__(self) -> None:
        self.books._strike_off(self.key)


class StorageLedger(TorchDispatchMode):
    """Books the storages of one device type while entered; speaks the protocol of ``simgpu.ledger.LEDGER``."""

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.device_type = device_type
        self.transfers = Transfers(device_type)
        self.allocated = 0
        self.peak = 0
        self.allocations = 0
        self.events: deque = deque(maxlen=HISTORY_EVENTS)
        self._records: dict[int, StorageRecord] = {}
        self._keys = itertools.count()
        self._callback: Callable[[StorageRecord], None] | None = None
        self._watching = ExitStack()

    def counters(self) -> Counters:
        """Return the books' totals; reserved equals allocated, as nothing is cached here."""
        return Counters(self.allocated, self.allocated, self.peak, self.allocations, *self.transfers.totals())

    def reset_peak(self) -> None:
        """Let the peak start again from what is allocated now."""
        self.peak = self.allocated

    def live(self) -> list[StorageRecord]:
        """List the storages in the books."""
        return list(self._records.values())

    def watch(self, callback: Callable[[StorageRecord], None] | None) -> None:
        """Call ``callback(record)`` after each allocation and count reads below the dispatcher; None ends both."""
        self._watching.close()
        self._callback = callback
        if callback is not None:
            self.events.clear()
            self._watching.enter_context(self.transfers.reads_counted())

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operator, then book what it returned and what it moved."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self._book(result, func, args)
        elif isinstance(result, _tensor_lists):
            for item in result:
                if isinstance(item, torch.Tensor):
                    self._book(item, func, args)
        self.transfers.see(func, args, kwargs, result)
        return result

    def _book(self, tensor: torch.Tensor, func, args: tuple) -> None:
        if tensor.layout is not torch.strided or tensor._is_zerotensor():
            return
        storage = tensor.untyped_storage()
        if storage.device.type != self.device_type:
            return
        tie = getattr(storage, "_autograder_tie", None)
        if tie is not None and tie.books is self:
            self._resized(self._records[tie.key], storage)
        elif func is torch.ops.aten.lift_fresh.default or not _is_an_arguments(storage, args):
            self._open(storage)

    def _open(self, storage: torch.UntypedStorage) -> None:
        key = next(self._keys)
        record = self._records[key] = StorageRecord(storage.nbytes(), storage.data_ptr())
        storage._autograder_tie = _Tie(self, key)
        self._grow(record, record.block.size)

    def _resized(self, record: StorageRecord, storage: torch.UntypedStorage) -> None:
        if storage.nbytes() == record.nbytes:
            return
        before = record.block
        record.set_size(storage.nbytes(), storage.data_ptr())
        self._log("free", before, record)
        self._grow(record, record.block.size - before.size)

    def _grow(self, record: StorageRecord, nbytes: int) -> None:
        self.allocated += nbytes
        self.peak = max(self.peak, self.allocated)
        self.allocations += 1
        if self._callback is not None:
            self._callback(record)
        self._log("alloc", record.block, record)

    def _strike_off(self, key: int) -> None:
        record = self._records.pop(key)
        self.allocated -= record.block.size
        self._log("free", record.block, record)

    def _log(self, action: str, block: Block, record: StorageRecord) -> None:
        if self._callback is not None:
            self.events.append((action, block.address, block.size, record.tag))


def _is_an_arguments(storage: torch.UntypedStorage, args: tuple) -> bool:
    """Whether a result only looks at memory that an argument owns and the books do not know."""
    address = storage.data_ptr()
    for argument in args:
        items = argument if isinstance(argument, _tensor_lists) else (argument,)
        for item in items:
            strided = isinstance(item, torch.Tensor) and item.layout is torch.strided
            if strided and not item._is_zerotensor() and item.untyped_storage().data_ptr() == address:
                return True
    return False
