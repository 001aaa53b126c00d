"""Copies between host and device, and reading one number: counted, and waited for unless they need not be.

The host goes on at once only if the copy is non_blocking *and* the host's side is pinned, or up to 64 KB go to the device.
Else the driver "may synchronize with the stream and stage the copy into pinned memory" (CUDA driver API, "API
synchronization behavior", Asynchronous, 3), which counts as a wait here. But "memory copies from host to device of a memory
block of 64 KB or less" are "asynchronous with respect to the host" (CUDA C++ Programming Guide, "Concurrent Execution
between Host and Device"). PyTorch does not know of the driver's wait (aten/src/ATen/native/cuda/Copy.cu calls
cudaMemcpyAsync), so its sync debug mode does not see it.
"""

from __future__ import annotations

import torch

from autograder.host import STAGED_AT_ONCE
from autograder.simgpu import host
from autograder.simgpu.device_asserts import ASSERTS
from autograder.simgpu.devices import DEVICES, OURS
from autograder.simgpu.errors_like_cuda import check_ordinal
from autograder.simgpu.factories import refuse_beyond_capacity
from autograder.simgpu.lazy_clone import BORROWERS, materialize
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import CPU, on_device, unwrap, wrap

_WIDE = {float: torch.float64, complex: torch.complex128}


@kernel("copy_")
def copy_(self, source, non_blocking=False):
    """self.copy_(source)."""
    _copy(self, source, non_blocking)
    return self


@kernel("_copy_from")
def copy_from(self, destination, non_blocking=False):
    """destination.copy_(self), as CPU tensors reach it."""
    _copy(destination, self, non_blocking)
    return destination


@kernel("_copy_from_and_resize")
def copy_from_and_resize(self, destination):
    """destination.resize_as_(self).copy_(self)."""
    if destination.size() != self.size():
        destination.resize_(self.size())
    _copy(destination, self, False)
    return destination


@kernel("_to_copy")
def to_copy(self, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False, memory_format=None):
    """tensor.to(...): a new tensor, on this device or from it."""
    check_ordinal(device)
    dtype = dtype or self.dtype
    device = device or self.device
    to_device = device.type in OURS
    source = unwrap(self) if on_device(self) else self
    if device.type == "meta":
        return torch.empty_like(source, dtype=dtype, device="meta")
    if to_device:
        refuse_beyond_capacity(self.numel() * dtype.itemsize)
    if to_device and on_device(self) and self.device.index != DEVICES.current():
        LEDGER.copied_to_peer(self.numel() * self.element_size(), self.device.index, DEVICES.current())
    result = torch.empty_like(source, dtype=dtype, memory_format=memory_format or torch.preserve_format, device=CPU)
    if not to_device and (pin_memory or non_blocking):  # TensorConversions.cpp: pin_out
        host.pin(result)
    _count(on_device(self), to_device, self, non_blocking, result if on_device(self) else self)
    result.copy_(source)
    return wrap(result) if to_device else result


@kernel("_local_scalar_dense")
def item(self):
    """tensor.item(): the host waits for one number (CUDAScalar.cu)."""
    if not self.numel():
        raise RuntimeError("_local_scalar_dense: Empty tensor not supported")
    LEDGER.synced()
    return unwrap(self).item()


@kernel("record_stream")
def record_stream(self, stream):
    """tensor.record_stream(stream): once freed, the memory is not reused before the stream's work is done."""
    record = getattr(self.untyped_storage(), "_simgpu_record", None)
    if record is not None and record.block is not None:
        LEDGER.record_stream(record.block, stream)


def _copy(destination, source, non_blocking):
    if not isinstance(source, torch.Tensor):  # a plain number reaches a kernel in Python as itself
        source = torch.tensor(source, dtype=_WIDE.get(type(source)), device=CPU)
    if BORROWERS and on_device(destination):
        materialize(destination.untyped_storage())
    into_device, from_device = on_device(destination), on_device(source)
    _count(from_device, into_device, source, non_blocking, destination if from_device else source)
    if into_device and from_device and destination.device != source.device:
        LEDGER.copied_to_peer(source.numel() * source.element_size(), source.device.index, destination.device.index)
    target = unwrap(destination) if into_device else destination
    target.copy_(unwrap(source) if from_device else source)


def _count(from_device: bool, into_device: bool, source, non_blocking: bool, on_host) -> None:
    """Bytes are those of the source: CUDA converts types on the device's side."""
    ASSERTS.refuse()
    nbytes = source.numel() * source.element_size()
    if from_device == into_device or not nbytes:
        return
    if into_device:
        LEDGER.copied_to_device(nbytes)
    else:
        LEDGER.copied_to_host(nbytes)
    if not non_blocking:
        LEDGER.synced()
    elif not _goes_on(into_device, nbytes, on_host):
        LEDGER.waited()


def _goes_on(into_device: bool, nbytes: int, on_host) -> bool:
    """Does the host go on while a non-blocking copy is under way?"""
    return (into_device and nbytes <= STAGED_AT_ONCE) or host.is_pinned_storage(on_host.untyped_storage())
