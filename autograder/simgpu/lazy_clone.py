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
    clone = _borrowing(record.host, self.device)
    _note(clone, BORROWERS[id(storage)][1] if id(storage) in BORROWERS else storage)
    point(tensor, clone, self.storage_offset(), self.size(), self.stride())
    return tensor


def _borrowing(host, device):
    """A storage over memory that another storage's block stands for."""
    record = Record(host, 0)
    record.nbytes = host.nbytes()
    storage = compat.storage_at(host.data_ptr(), device, record.nbytes)
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
