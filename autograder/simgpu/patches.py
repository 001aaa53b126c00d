"""The few names of torch that are replaced, each because torch offers no hook there.

================================================  =====================================================================
torch.autograd.graph._engine_run_backward         see guard.py
torch.nn.Module._apply                            .to() would make new Parameters, orphaning an optimizer made before.
                                                  The public switch torch.__future__.set_swap_module_params_on_conversion
                                                  would do, but it changes every module on every device and refuses when
                                                  a weak reference or a live graph holds a parameter, where CUDA works.
torch.Tensor.data                                 assigning data across devices: C++ allows it between CPU and CUDA only
torch.UntypedStorage.__new__ / .new / .resize_    torch has no allocator for this device: C++ would crash
torch.UntypedStorage._byteswap                    C++ works on the storage's address, where nothing can be read
torch.storage._StorageBase.simgpu                 torch.load(map_location="simgpu"): count the copy
torch.clear_autocast_cache                        our cache of weight casts must be cleared with torch's
torch.empty, zeros, ... (host.FACTORIES)          pin_memory=True asks C++ for an allocator of the device (host.py)
torch.Generator                                   only a device written in C++ can offer generators (generator.py)
torch._C._accelerator_* (if simgpu is current)    torch.accelerator.memory_* and the settings ask C++ allocators
torch._C._scatter / _gather / _broadcast_...      nn.DataParallel, where there is no CUDA device
torch._C._is_cow_tensor                           looks at a mark that our storages cannot have (lazy_clone.py)
DistributedDataParallel._ddp_init_helper, ...      find_unused_parameters takes pinned memory from C++ (reducer.py)
torch.compile                                     there is no compiler for this device (eager.py)
================================================  =====================================================================
"""

from __future__ import annotations

import torch

from autograder.simgpu import autocast, compat, eager, guard, host, lazy_clone, reducer
from autograder.simgpu.devices import DEVICES, OURS, named
from autograder.simgpu.factories import refuse_beyond_capacity
from autograder.simgpu.generator import Generator
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.storage import as_bytes, new_storage, resize_storage


def install() -> None:
    """Replace all of the names above."""
    _patch_backward()
    _patch_module_apply()
    _patch_data()
    _patch_storages()
    _patch_autocast_cache()
    _patch_data_parallel()
    _patch_lazy_clones()
    reducer.install()
    eager.install()
    torch.Generator = Generator
    for name in host.FACTORIES:
        setattr(torch, name, host.with_pinning(getattr(torch, name)))


def _patch_backward():
    run = guard.wrap_backward(torch.autograd.graph._engine_run_backward)
    torch.autograd.graph._engine_run_backward = run
    torch.autograd._engine_run_backward = run


def _patch_module_apply():
    original = torch.nn.Module._apply

    def _apply(self, fn, recurse=True):
        if torch.__future__.get_overwrite_module_params_on_conversion():
            return original(self, fn, recurse)
        before = [(name, p, None if p is None else p.grad) for name, p in self._parameters.items()]
        result = original(self, fn, recurse)
        for name, parameter, gradient in before:
            _keep_identity(self, name, parameter, gradient)
        return result

    torch.nn.Module._apply = _apply


def _keep_identity(module, name, before, gradient):
    """Give a Parameter that crossed between host and device, and its gradient, their old Python identity back.

    Source: Module._apply assigns ``.data`` of both where torch._has_compatible_shallow_copy_type says yes, as it does
    between CPU and CUDA, unless torch.__future__.get_overwrite_module_params_on_conversion().
    """
    after = module._parameters.get(name)
    if after is None or after is before or after.device.type == before.device.type:
        return
    moved, after.grad, before.grad = after.grad, None, None
    if _swapped(before, after):
        module._parameters[name] = after = before
    after.grad = gradient if gradient is not None and _swapped(gradient, moved) else moved


def _swapped(before, after) -> bool:
    """Let the earlier tensor be the later one; not while a graph holds it."""
    try:
        compat.swap_tensor_impl(before, after)
    except RuntimeError:
        return False
    return True


def _patch_data():
    inherited = torch.Tensor.data

    def assign(self, value):
        crosses = isinstance(value, torch.Tensor) and value.device.type != self.device.type
        if crosses and compat.NAME in (value.device.type, self.device.type):
            _move_in_place(self, value)
        else:
            inherited.__set__(self, value)

    torch.Tensor.data = property(inherited.__get__, assign, inherited.__delete__, inherited.__doc__)


def _move_in_place(tensor, value):
    """``tensor.data = value`` across devices. Its gradient moves along, which CUDA leaves to the caller.

    Raises RuntimeError while a graph holds the tensor.
    """
    if tensor._use_count() > 1:
        raise RuntimeError(
            f"cannot assign data on {named(value.device)} to a tensor on {named(tensor.device)} while a graph or a view "
            "holds the tensor; do it before the forward pass, or after the last reference to its results is gone"
        )
    fresh = value.detach().requires_grad_(tensor.requires_grad)
    if tensor.grad is not None:
        fresh.grad = tensor.grad.to(value.device)
    compat.swap_tensor_impl(tensor, fresh)


def _patch_storages():
    make, resize = torch.UntypedStorage.__new__, torch.UntypedStorage.resize_
    make_empty, swap = torch.UntypedStorage.new, torch.UntypedStorage._byteswap

    def __new__(cls, *args, device=None, **kwargs):
        if device is None:
            return make(cls, *args, **kwargs)
        if torch.device(device).type not in OURS:
            return make(cls, *args, device=device, **kwargs)
        with DEVICES.on(DEVICES.resolve(device)):
            if args and isinstance(args[0], int):
                refuse_beyond_capacity(args[0])
            return new_storage(make(torch.UntypedStorage, *args))

    def resize_(self, size):
        if self.device.type != compat.NAME:
            return resize(self, size)
        with DEVICES.on(self.device.index):
            refuse_beyond_capacity(size)
            lazy_clone.materialize(self)
            resize_storage(self, size)
        return self

    def new(self):
        return make_empty(self) if self.device.type != compat.NAME else type(self)(0, device=self.device)

    def _byteswap(self, size):
        swap(self if self.device.type != compat.NAME else self._simgpu_record.host, size)

    torch.UntypedStorage.__new__ = __new__
    torch.UntypedStorage.new = new
    torch.UntypedStorage._byteswap = _byteswap
    torch.UntypedStorage.resize_ = resize_
    setattr(torch.storage._StorageBase, compat.NAME, _storage_to_device)


def _storage_to_device(self, device=None, non_blocking=False):
    """storage.simgpu(): a copy of a CPU storage on the device, or of one on another device."""
    index, nbytes = DEVICES.resolve(device), self.nbytes()
    on_device = self.device.type == compat.NAME
    if on_device and (device is None or self.device.index == index):
        return self
    with DEVICES.on(index):
        refuse_beyond_capacity(nbytes)
        storage = new_storage(torch.UntypedStorage(nbytes))
    if on_device:
        LEDGER.copied_to_peer(nbytes, self.device.index, index)
    else:
        LEDGER.copied_to_device(nbytes)
    as_bytes(storage._simgpu_record.host).copy_(as_bytes(self._simgpu_record.host if on_device else self))
    return storage


def _patch_autocast_cache():
    clear = torch.clear_autocast_cache

    def clear_autocast_cache():
        autocast.clear_cache()
        clear()

    torch.clear_autocast_cache = clear_autocast_cache


def _patch_lazy_clones():
    original = torch._C._is_cow_tensor

    def _is_cow_tensor(tensor):
        return lazy_clone.is_shared(tensor) if tensor.device.type == compat.NAME else original(tensor)

    torch._C._is_cow_tensor = _is_cow_tensor


def patch_accelerator(module) -> None:
    """Let torch.accelerator's memory functions ask ``module`` (torch.simgpu), if simgpu is the accelerator."""
    if torch.accelerator.current_accelerator() != torch.device(compat.NAME):
        return
    answers = {
        "_accelerator_isAllocatorInitialized": lambda: True,
        "_accelerator_emptyCache": module.empty_cache,
        "_accelerator_emptyHostCache": host.HOST.empty_cache,
        "_accelerator_getDeviceStats": module.memory_stats,
        "_accelerator_resetPeakStats": module.reset_peak_memory_stats,
        "_accelerator_resetAccumulatedStats": module.reset_accumulated_memory_stats,
        "_accelerator_getMemoryInfo": module.mem_get_info,
        "_accelerator_getAllocatorSettings": module.memory._get_allocator_settings,
        "_accelerator_setAllocatorSettings": module.memory._set_allocator_settings,
        "_accelerator_synchronizeDevice": module.synchronize,
        "_accelerator_getDeviceIndex": module.current_device,
        "_accelerator_setDeviceIndex": module.set_device,
        "_accelerator_exchangeDevice": module._exchange_device,
        "_accelerator_maybeExchangeDevice": module._exchange_device,
        "_accelerator_getStream": module.current_stream,
        "_accelerator_setStream": module.set_stream,
    }
    for name, answer in answers.items():
        setattr(torch._C, name, answer)
    torch.accelerator.device_count = module.device_count


def _patch_data_parallel():
    if torch.cuda.is_available():
        return

    def scatter(tensor, devices, chunk_sizes=None, dim=0, streams=None):
        parts = tensor.split(list(chunk_sizes), dim) if chunk_sizes else tensor.chunk(len(devices), dim)
        return tuple(part.to(torch.device(compat.NAME, index)) for part, index in zip(parts, devices))

    def gather(tensors, dim, destination=None):
        target = "cpu" if destination == -1 else torch.device(compat.NAME, DEVICES.resolve(destination))
        return torch.cat([t.to(target) for t in tensors], dim)

    def broadcast(tensors, devices, buffer_size=0):
        return [[t.to(torch.device(compat.NAME, index)) for t in tensors] for index in devices]

    torch._C._scatter = scatter
    torch._C._gather = gather
    torch._C._broadcast_coalesced = broadcast
