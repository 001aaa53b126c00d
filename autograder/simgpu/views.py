"""Views and in-place changes of shape. Views are PyTorch's own CPU kernels: they only touch metadata."""

from __future__ import annotations

import functools

import torch

from autograder.simgpu import compat, determinism
from autograder.simgpu.factories import refuse_beyond_capacity
from autograder.simgpu.lazy_clone import BORROWERS, materialize
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import extent, new_storage, point, resize_storage, resized_copy, unwrap

_VIEWS = ("as_strided", "view", "_reshape_alias", "unfold", "view_as_real", "view_as_complex")

for _name in _VIEWS:
    _entry = compat.redispatch(getattr(torch.ops.aten, _name).default)
    kernel(_name)(functools.partial(_entry, compat.CPU_KEYS))


def contiguous_strides(size) -> list[int]:
    """Strides of a dense row-major tensor; as in c10, an empty dimension counts as one."""
    strides = []
    step = 1
    for length in reversed(size):
        strides.append(step)
        step *= max(length, 1)
    return strides[::-1]


@kernel("set_.source_Storage_storage_offset")
def set_storage_at(self, source, offset, size, stride=()):
    """tensor.set_(storage, offset, size, stride)."""
    point(self, source, offset, size, stride or contiguous_strides(size))
    return self


@kernel("set_.source_Storage")
def set_storage(self, source):
    """tensor.set_(storage): all of it, flat."""
    point(self, source, 0, [source.nbytes() // self.element_size()], [1])
    return self


@kernel("set_.source_Tensor")
def set_tensor(self, source):
    """tensor.set_(tensor)."""
    point(self, source.untyped_storage(), source.storage_offset(), source.size(), source.stride())
    return self


@kernel("set_")
def set_nothing(self):
    """tensor.set_(): an empty storage."""
    point(self, new_storage(torch.UntypedStorage(0)), 0, [0], [1])
    return self


@kernel("resize_")
def resize_(self, size, memory_format=None):
    """tensor.resize_(size): the storage grows if it must and never shrinks."""
    size = list(size)
    channels_last = memory_format in (torch.channels_last, torch.channels_last_3d)
    if list(self.size()) == size and not channels_last:
        return self
    if channels_last:
        stride = torch.empty(size, device="meta", memory_format=memory_format).stride()
    else:
        stride = contiguous_strides(size)
    reach = extent(size, stride)
    need = (self.storage_offset() + reach) * self.element_size() if reach else 0
    refuse_beyond_capacity(need)
    if BORROWERS:
        materialize(self.untyped_storage())
    before = self.untyped_storage().nbytes() // self.element_size()
    point(self, _with_room(self.untyped_storage(), need), self.storage_offset(), size, stride)
    if determinism.fills():
        _fill_added(self, before)
    return self


def _fill_added(tensor, before):
    """Fill what the storage got beyond its first elements (resize_ in ATen/native/Resize.cpp)."""
    storage = tensor.untyped_storage()
    added = storage.nbytes() // tensor.element_size() - before
    if added > 0:
        determinism.fill(unwrap(tensor.new_empty(0).set_(storage, before, [added], [1])))


def _with_room(storage, nbytes):
    """The storage itself, grown if need be; where torch cannot grow it, a larger copy that views do not share."""
    record = getattr(storage, "_simgpu_record", None)
    if record is None:
        return new_storage(torch.UntypedStorage(nbytes))
    if nbytes > storage.nbytes():
        if not compat.can_exchange_storages():
            return new_storage(resized_copy(record.host, nbytes))
        resize_storage(storage, nbytes)
    return storage
