"""Tensor._lazy_clone(): a storage that shares memory until one side is written to (copy on write).

C++ does it by a deleter that a storage of ours cannot have, so it is done here: the clone's storage borrows the memory, and
keeps the lender, which owns the block, alive. Whoever is written to first gets memory of its own; the last to hold the old
memory takes it over without a copy (c10/core/impl/COW.cpp, materialize_cow_storage).
"""

from __future__ import annotations

import functools
import weakref

import torch

from autograder.simgpu import blank, compat
from autograder.simgpu.devices import DEVICES
from autograder.simgpu.ledger import LEDGER, Record
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import exchange, new_storage, point, resized_copy

#: id of a borrowing storage -> (a weak reference to it, the storage that lends). Empty but for programs that clone lazily.
BORROWERS: dict[int, tuple[weakref.ref, torch.UntypedStorage]] = {}
_WRITTEN_WITHOUT_SAYING = {"native_batch_norm": ((3, "running_mean"), (4, "running_var"))}


@kernel("_lazy_clone")
def lazy_clone(self):
    """A tensor of the same values that costs nothing until it, or this one, is written to."""
    storage = self.untyped_storage()
    record = storage._simgpu_record
    tensor = blank.tensor(self.dtype, self.device.index)
    clone = _borrowing(record.host, storage)
    _note(clone, BORROWERS[id(storage)][1] if id(storage) in BORROWERS else storage)
    point(tensor, clone, self.storage_offset(), self.size(), self.stride())
    return tensor


class BorrowedRecord(Record):
    """What a lazy clone's storage holds: no block of its own, at the lender's address."""

    __slots__ = ("_address", "_index")

    def __init__(self, host: torch.UntypedStorage, lender: torch.UntypedStorage):
        super().__init__(host, 0)
        self.nbytes = host.nbytes()
        self._address, self._index = lender.data_ptr(), lender.device.index

    @property
    def device(self) -> int:
        """Index of the device whose memory is borrowed."""
        return self._index

    @property
    def data_ptr(self) -> int:
        """The lender's address."""
        return self._address


def _borrowing(host, lender):
    """A storage over memory that another storage's block stands for."""
    record = BorrowedRecord(host, lender)
    storage = compat.storage_at(record.data_ptr, lender.device, record.nbytes)
    first = getattr(host, "_simgpu_storage", None)
    LEDGER.enroll(record, storage)
    host._simgpu_storage = first
    return storage


def _note(storage, lender):
    key = id(storage)
    BORROWERS[key] = weakref.ref(storage, lambda _: BORROWERS.pop(key, None)), lender


def before_writing(plan, args: tuple, kwargs: dict) -> None:
    """Give memory of their own to the operands that an operator writes to."""
    for position, name in _written(plan):
        value = args[position] if position < len(args) else kwargs.get(name)
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided:
                materialize(tensor.untyped_storage())


@functools.lru_cache(None)
def _written(plan) -> tuple[tuple[int, str], ...]:
    arguments = enumerate(plan.op._schema.arguments)
    found = [(k, a.name) for k, a in arguments if a.alias_info is not None and a.alias_info.is_write]
    return (*found, *_WRITTEN_WITHOUT_SAYING.get(plan.short, ()))


def materialize(storage: torch.UntypedStorage) -> None:
    """Let a storage share its memory with nobody. Raises torch.OutOfMemoryError if its copy does not fit."""
    borrowed = BORROWERS.get(id(storage))
    if borrowed is not None:
        _stop_borrowing(storage, borrowed[1])
    elif others := _borrowers_of(storage):
        _stop_lending(storage, others)


def is_shared(tensor: torch.Tensor) -> bool:
    """Does a tensor share memory with a lazy clone, or is it one?"""
    storage = tensor.untyped_storage()
    return id(storage) in BORROWERS or bool(_borrowers_of(storage))


@kernel("_test_parallel_materialize")
def test_parallel_materialize(self, num_parallel, skip_first=False):
    """What a thread of at::parallel_for may not do (ATen/native/TestOps.cpp; c10/core/impl/COW.cpp, cow_materialize)."""
    if is_shared(self) and (num_parallel > 1 or not skip_first):
        raise RuntimeError("Materializing a storage in the loop function of at::parallel_for is forbidden")
    return self


def _borrowers_of(lender) -> list[torch.UntypedStorage]:
    found = [reference() for reference, of in list(BORROWERS.values()) if of is lender]
    return [storage for storage in found if storage is not None]


def _stop_borrowing(storage, lender):
    is_last = len(_borrowers_of(lender)) == 1 and compat.storage_use_count(lender) == 1
    fresh = lender if is_last else _copy_of(storage)
    del BORROWERS[id(storage)]
    exchange(storage, new_storage(torch.UntypedStorage(0)))  # torch swaps only with an empty storage
    exchange(storage, fresh)


def _stop_lending(storage, borrowers):
    """The old memory goes to a storage that only the borrowers hold."""
    fresh, old = _copy_of(storage), new_storage(torch.UntypedStorage(0))
    exchange(storage, old)
    exchange(storage, fresh)
    for borrower in borrowers:
        _note(borrower, old)


def _copy_of(storage):
    with DEVICES.on(storage.device.index):
        return new_storage(resized_copy(storage._simgpu_record.host, storage.nbytes()))
