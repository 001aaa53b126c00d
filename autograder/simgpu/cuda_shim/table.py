"""Every name that is replaced while "cuda" means the simulated GPU, with its reason; all are put back afterwards.

The dispatcher's CUDA key is served apart (``dispatcher.py``), through PyTorch's own extension point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.profiler
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parallel import _functions

from autograder.simgpu import streams as simgpu_streams
from autograder.simgpu.cuda_shim import (
    c_names,
    cuda_module,
    custom_operators,
    distributed,
    messages,
    plan_cache,
    storages,
    streams,
    tensors,
    torch_module,
    wrappers,
)
from autograder.simgpu.cuda_shim.arrays import no_array_interface
from autograder.simgpu.cuda_shim.devices import TENSOR_DEVICE, TENSOR_IS_CUDA, shown_device
from autograder.simgpu.generator import Generator

_INSIDE = "autograd compares devices in C++, where what it wraps is on the simulated GPU"
_COMPARED = "a script compares it with cuda"
_NO_MARKS = "marks for a profiler that is not there"
_AUTOCAST = "autocast is switched per device, and the tensors are simgpu's"


class Replacement(NamedTuple):
    """``owner.name`` becomes ``make(original)``, because of ``reason``."""

    owner: object
    name: str
    make: Callable
    reason: str


def _rows() -> list[Replacement]:
    return [*_tensor_rows(), *_torch_rows(), *_backend_rows(), *_cuda_rows(), *_distributed_rows()]


def _tensor_rows() -> list[Replacement]:
    tensor = torch.Tensor
    return [
        Replacement(tensor, "device", lambda _: TENSOR_DEVICE, _COMPARED),
        Replacement(tensor, "is_cuda", lambda _: TENSOR_IS_CUDA, _COMPARED),
        Replacement(tensor, "cuda", tensors.method_cuda, "C++ takes a number alone for the simulated GPU's"),
        Replacement(tensor, "type", tensors.method_type, "says and understands torch.cuda.FloatTensor"),
        Replacement(torch.UntypedStorage, "device", storages.shown_device, _COMPARED),
        Replacement(torch.UntypedStorage, "_share_cuda_", storages.share_cuda, "C++ knows no CUDA storages here"),
        Replacement(tensor, "numpy", messages.naming_cuda, "C++ names the device in its error"),
        Replacement(tensor, "_make_wrapper_subclass", wrappers.made_for_simgpu, _INSIDE),
        Replacement(FakeTensor, "__new__", wrappers.fake_for_simgpu, _INSIDE),
        Replacement(FakeTensor, "device", shown_device, _COMPARED),
    ]


def _torch_rows() -> list[Replacement]:
    return [
        Replacement(
            torch, "asarray", tensors.asarray_here, "C++ compares devices: it would copy what is there already"
        ),
        Replacement(Generator, "device", shown_device, _COMPARED),
        Replacement(
            torch.library.Library, "impl", custom_operators.impl_for_both, "a script's kernels for CUDA are ours"
        ),
        Replacement(torch._C, "_get_default_device", tensors.default_device_type, "C++ knows no CUDA types here"),
        Replacement(torch, "_tensor_classes", tensors.every_class, "C++'s types of CUDA tensors make none here"),
        Replacement(torch, "set_default_tensor_type", tensors.default_tensor_type, "C++ knows no CUDA types here"),
        Replacement(torch.accelerator, "current_accelerator", torch_module.shown_accelerator, _COMPARED),
        Replacement(torch, "get_device_module", torch_module.shown_module, "a script compares it with torch.cuda"),
        Replacement(torch._C, "_get_accelerator", torch_module.shown_accelerator, _COMPARED),
        Replacement(
            torch._C, "_group_tensors_by_device_and_dtype", torch_module.grouped_by_shown_device, "its keys are devices"
        ),
        Replacement(_functions, "_get_stream", torch_module.stream_of_shown, _COMPARED),
        Replacement(_functions, "_streams", _always_is(None), "kept for as many devices as there were at first"),
        Replacement(torch, "set_autocast_enabled", torch_module.autocast_of_both, _AUTOCAST),
        Replacement(torch, "set_autocast_dtype", torch_module.autocast_of_both, _AUTOCAST),
        Replacement(torch, "set_autocast_gpu_dtype", torch_module.autocast_gpu_dtype_of_both, _AUTOCAST),
    ]


def _backend_rows() -> list[Replacement]:
    bad_fork = torch.simgpu._is_in_bad_fork
    return [
        Replacement(torch.backends.cuda, "is_built", _always(True), "scripts and torch.optim ask before using CUDA"),
        Replacement(torch.backends.cudnn, "is_acceptable", _always(False), "it would warn that cuDNN is missing"),
        Replacement(torch.cuda.nvtx, "_nvtx", lambda _: cuda_module.SilentNvtx, _NO_MARKS),
        Replacement(torch.autograd.profiler.emit_nvtx, "__enter__", _always_is(cuda_module.no_marks), _NO_MARKS),
        Replacement(torch.autograd.profiler.emit_nvtx, "__exit__", _always(False), _NO_MARKS),
        *(
            Replacement(torch.backends.cuda.cuFFTPlanCache, name, _always_is(answer), "there is no cuFFT, and no plans")
            for name, answer in plan_cache.ANSWERS.items()
        ),
        Replacement(
            torch.profiler._KinetoProfile, "__init__", torch_module.profile_on_the_host, "no CUDA events to record"
        ),
        Replacement(torch.cuda.nccl, "is_available", _always(False), "DataParallel would add gradients through NCCL"),
        Replacement(torch.cuda, "_lazy_init", _always(None), "C++ calls it before a factory is dispatched"),
        Replacement(
            torch.cuda, "_initialized", _always_is(True), "torch.utils.checkpoint keeps random states only then"
        ),
        Replacement(torch.cuda, "_is_in_bad_fork", lambda _: bad_fork, "torch.manual_seed asks it"),
    ]


def _distributed_rows() -> list[Replacement]:
    if not torch.distributed.is_available():
        return []
    from torch.distributed import device_mesh, distributed_c10d

    reason = "NCCL needs a GPU; gloo serves the simulated one"
    homes = (torch.distributed, distributed_c10d, device_mesh)
    return [
        *(Replacement(home, "init_process_group", distributed.over_gloo, reason) for home in homes),
        *(Replacement(home, "new_group", distributed.group_over_gloo, reason) for home in homes),
        Replacement(torch.distributed, "is_nccl_available", _always(True), "scripts ask before choosing nccl"),
    ]


def _always(answer) -> Callable:
    return lambda original: lambda *args, **kwargs: answer


def _cuda_rows() -> list[Replacement]:
    """torch.cuda's functions, also where its submodules keep the same ones, and what they ask of C++."""
    rows = []
    reason = "answered for the simulated GPU (cuda_module.py)"
    homes = ("memory", "random", "streams", "graphs", "green_contexts")
    owners = (torch.cuda, *(getattr(torch.cuda, home) for home in homes if hasattr(torch.cuda, home)))
    for name, answer in sorted(cuda_module.answers().items()):
        rows += [Replacement(owner, name, _always_is(answer), reason) for owner in owners if hasattr(owner, name)]
    for owner, name, refusal in cuda_module.refused_in_submodules():
        rows.append(Replacement(owner, name, _always_is(refusal), "it cannot work here, and says so"))
    for name, answer in c_names.IN_C.items():
        rows.append(Replacement(torch._C, name, _always_is(answer), "torch.cuda's own functions ask for it"))
    return rows + _stream_rows()


def _stream_rows() -> list[Replacement]:
    names_itself, no_streams = "it names itself torch.cuda's", "C++ has no streams of a device written in Python"
    return [
        Replacement(torch, "Stream", streams.general_stream, no_streams),
        Replacement(torch, "Event", streams.general_event, no_streams),
        Replacement(simgpu_streams.Stream, "device", shown_device, _COMPARED),
        Replacement(simgpu_streams.Event, "device", shown_device, _COMPARED),
        Replacement(simgpu_streams.Stream, "module", _always_is("torch.cuda"), names_itself),
        Replacement(simgpu_streams.Event, "module", _always_is("torch.cuda"), names_itself),
        Replacement(
            torch.Tensor, "__cuda_array_interface__", no_array_interface, "no CUDA library can read the address"
        ),
    ]


def _always_is(answer) -> Callable:
    return lambda original: answer


@contextmanager
def replaced() -> Iterator[list[Replacement]]:
    """Replace all of them; put all back at the end, in the opposite order."""
    undo: list[Callable[[], None]] = []
    rows = _rows()
    try:
        for row in rows:
            undo.append(_replace(row))
        undo.append(torch_module.checkpoints_name_cuda())
        yield rows
    finally:
        for put_back in reversed(undo):
            put_back()


def _replace(row: Replacement) -> Callable[[], None]:
    was_own = row.name in vars(row.owner)
    original = vars(row.owner)[row.name] if was_own else getattr(row.owner, row.name, None)
    setattr(row.owner, row.name, row.make(original))

    def put_back() -> None:
        if was_own:
            setattr(row.owner, row.name, original)
        else:
            delattr(row.owner, row.name)

    return put_back
