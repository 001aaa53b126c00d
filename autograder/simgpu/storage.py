"""Ghost storages: a device tensor is a plain torch.Tensor whose C++ storage sits on ``simgpu`` and owns no memory. Its
address is that of its block on the simulated device, where nothing can be read; the record on the storage owns the block,
and the CPU storage that every kernel works on.
"""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import blank, compat
from autograder.simgpu.devices import DEVICES
from autograder.simgpu.ledger import LEDGER, Record

DEVICE = torch.device(compat.NAME, 0)
CPU = torch.device("cpu")
_CPU_KEYS = compat.CPU_KEYS
_MOST_ALIASES = 16
_inference_mode = torch.is_inference_mode_enabled
_NO_SIZE = [0]
_STRIDED = torch.strided
_empty_device_tensor = compat.empty_device_tensor
_set_raw = compat.set_raw
_storage_at = compat.storage_at
_conj_view = compat.conj_view
_neg_view = compat.neg_view
_empty_on_cpu = functools.partial(torch.empty, device="cpu")


def on_device(tensor: torch.Tensor) -> bool:
    """Is this tensor on the simulated GPU?"""
    return tensor.device.type == compat.NAME


def new_storage(host: torch.UntypedStorage) -> torch.UntypedStorage:
    """A storage of the current device over ``host``. Raises torch.OutOfMemoryError before anything is made."""
    nbytes = host.nbytes()
    index, device = 0, DEVICE
    if DEVICES.several:
        index = DEVICES.current()
        device = torch.device(compat.NAME, index)
    record = Record(host, nbytes, index)
    try:
        storage = _storage_at(record.data_ptr, device, nbytes)
        LEDGER.enroll(record, storage)
    except BaseException:
        LEDGER.abandon(record)
        raise
    if LEDGER.watcher is not None and nbytes:
        LEDGER.watcher(record)
    return storage


def storage_of(host: torch.UntypedStorage) -> torch.UntypedStorage:
    """The device storage over ``host``: the one that exists, or a new one, also where a kernel made ``host`` longer."""
    reference = getattr(host, "_simgpu_storage", None)
    storage = reference() if reference is not None else None
    return new_storage(host) if storage is None or storage.nbytes() != host.nbytes() else storage


def point(tensor: torch.Tensor, storage, offset: int, size, stride) -> None:
    """Make a device tensor look at ``storage`` (offset, size, stride in elements)."""
    _set_raw(_CPU_KEYS, tensor, storage, offset, size, stride)


def wrap(host_tensor: torch.Tensor) -> torch.Tensor:
    """A device tensor over the same memory as a CPU tensor."""
    if host_tensor.layout is not _STRIDED:
        return _sparse().wrap_sparse(host_tensor)
    dtype = host_tensor.dtype
    storage = storage_of(host_tensor.untyped_storage())
    tensor = blank.tensor(dtype, storage.device.index) if DEVICES.several else _empty_device_tensor(_NO_SIZE, dtype)
    offset, size, stride = host_tensor.storage_offset(), host_tensor.size(), host_tensor.stride()
    _set_raw(_CPU_KEYS, tensor, storage, offset, size, stride)
    is_conj, is_neg = dtype.is_complex and host_tensor.is_conj(), host_tensor.is_neg()
    if is_conj:
        tensor = _conj_view(tensor)
    if is_neg:
        tensor = _neg_view(tensor)
    aliases = storage._simgpu_record.aliases
    if not (aliases or is_conj or is_neg or _inference_mode()):
        aliases[dtype, offset, size, stride] = host_tensor
    return tensor


def _sparse():
    from autograder.simgpu import sparse  # it stands on this module

    return sparse


def unwrap(tensor: torch.Tensor) -> torch.Tensor:
    """The CPU tensor over the same memory as a device tensor (no copy)."""
    try:
        storage = tensor.untyped_storage()
        record = storage._simgpu_record
    except AttributeError:
        return _unwrap_foreign(tensor, storage)
    except NotImplementedError:  # a sparse tensor has no storage of its own
        return _sparse().unwrap_sparse(tensor)
    dtype = tensor.dtype
    key = (dtype, tensor.storage_offset(), tensor.size(), tensor.stride())
    alias = record.aliases.get(key)
    if alias is None:
        alias = _alias(record.host, *key)
        if len(record.aliases) < _MOST_ALIASES:
            record.aliases[key] = alias
    if dtype.is_complex and tensor.is_conj():
        alias = alias.conj()
    if tensor.is_neg():
        alias = _neg_view(alias)
    return alias


def _alias(host: torch.UntypedStorage, dtype, offset: int, size, stride) -> torch.Tensor:
    """A CPU tensor over ``host``, never an inference tensor: it is kept, and may be written to outside that mode.

    A view that reaches beyond its storage, as after storage.resize_(), gets memory of its own instead of moving the
    storage's. On CUDA it would reach into another tensor.
    """
    reach = (offset + extent(size, stride)) * dtype.itemsize
    if reach > host.nbytes() and 0 not in size:
        host = resized_copy(host, reach)
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return _empty_on_cpu(0, dtype=dtype).set_(host, offset, size, stride)
    return _empty_on_cpu(0, dtype=dtype).set_(host, offset, size, stride)


def _unwrap_foreign(tensor, storage):
    """A storage that torch made itself: empty, or a second one over a block of ours, as DLPack makes it.

    Raises RuntimeError for an address at which no block is.
    """
    host, offset = torch.UntypedStorage(0), tensor.storage_offset()
    if storage.nbytes():
        record = LEDGER.record_at(storage.data_ptr())
        if record is None:
            raise RuntimeError(
                f"expected a storage that the simulated GPU made, found one at {storage.data_ptr():#x}, where none of its "
                "tensors lies; copy the data into a tensor made by torch"
            )
        host = record.host
        offset += _elements(storage.data_ptr() - record.data_ptr, tensor.dtype)
    return _empty_on_cpu(0, dtype=tensor.dtype).set_(host, offset, tensor.size(), tensor.stride())


def _elements(nbytes: int, dtype: torch.dtype) -> int:
    """How many elements so many bytes are. Raises RuntimeError if they are no whole number."""
    if nbytes % dtype.itemsize:
        raise RuntimeError(f"expected an offset in whole elements of {dtype.itemsize} bytes, found {nbytes} bytes")
    return nbytes // dtype.itemsize


def follow(tensor: torch.Tensor, alias: torch.Tensor) -> None:
    """After a kernel wrote through ``alias``: if it resized it, let the device tensor and the ledger follow."""
    if tensor.layout is not torch.strided:
        return
    storage = tensor.untyped_storage()
    record = getattr(storage, "_simgpu_record", None)
    host = alias.untyped_storage()
    same_memory = record is not None and host is record.host and host.nbytes() == storage.nbytes()
    if same_memory and tensor.size() == alias.size() and tensor.stride() == alias.stride():
        return
    if record is not None:
        record.aliases.clear()
    if alias.is_conj() or alias.is_neg():
        return
    if not same_memory:
        storage = new_storage(host)
    point(tensor, storage, alias.storage_offset(), alias.size(), alias.stride())


def forget_aliases(tensor: torch.Tensor) -> None:
    """Have the CPU tensors over a device tensor's memory made anew when they are needed next."""
    if tensor.layout is _STRIDED:
        record = getattr(tensor.untyped_storage(), "_simgpu_record", None)
        if record is not None:
            record.aliases.clear()


def resize_storage(storage: torch.UntypedStorage, nbytes: int) -> None:
    """Grow or shrink a device storage in place, keeping its first bytes: every view goes on sharing it.

    Raises NotImplementedError where torch cannot exchange storages.
    """
    if nbytes == storage.nbytes():
        return
    if not compat.can_exchange_storages():
        raise NotImplementedError(
            f"torch {torch.__version__} cannot resize a storage of the simulated GPU; torch 2.12 or newer can"
        )
    old_host = storage._simgpu_record.host
    fresh = new_storage(resized_copy(old_host, nbytes))
    exchange(storage, new_storage(torch.UntypedStorage(0)))  # torch swaps only with an empty storage
    exchange(storage, fresh)


def resized_copy(host: torch.UntypedStorage, nbytes: int) -> torch.UntypedStorage:
    """A new CPU storage of ``nbytes`` that begins as ``host`` does and ends in zeros."""
    fresh = torch.UntypedStorage(nbytes)
    kept = min(nbytes, host.nbytes())
    if kept:
        as_bytes(fresh)[:kept].copy_(as_bytes(host)[:kept])
    if nbytes > kept:
        as_bytes(fresh)[kept:].zero_()
    return fresh


def extent(size, stride) -> int:
    """Elements of storage that a tensor of this size and stride reaches over."""
    if 0 in size:
        return 0
    return 1 + sum((length - 1) * step for length, step in zip(size, stride))


def exchange(first, second) -> None:
    """Swap memory and records of two device storages."""
    first._swap_data_ptr_(second)
    first_record, second_record = first._simgpu_record, second._simgpu_record
    first_record.aliases.clear()
    second_record.aliases.clear()
    LEDGER.enroll(second_record, first)
    LEDGER.enroll(first_record, second)


def as_bytes(host: torch.UntypedStorage) -> torch.Tensor:
    """The bytes of a CPU storage as a uint8 tensor."""
    return _empty_on_cpu(0, dtype=torch.uint8).set_(host)
