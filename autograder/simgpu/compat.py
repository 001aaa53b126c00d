"""Every private torch name the simulated GPU stands on, and the test that it is there.

Nothing here registers anything when imported. ``require()`` raises ``SimGpuUnavailable`` naming what is missing, so a
torch without the hooks (before about 2.9) is refused with a sentence instead of aborting in its first backward.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from autograder.errors import SimGpuUnavailable

NAME = "simgpu"
KERNEL_KEY = "PrivateUse1"
SPARSE_KEYS = ("SparsePrivateUse1", "SparseCsrPrivateUse1")
NESTED_KEY = "NestedTensorPrivateUse1"
QUANTIZED_KEY = "QuantizedPrivateUse1"
AUTOGRAD_KEY = "AutogradPrivateUse1"
AUTOCAST_KEY = "AutocastPrivateUse1"

_REQUIRED = {
    "torch._C._acc.create_empty_tensor": "makes a tensor on a device written in Python",
    "torch._C._acc.DeviceGuard": "tells the autograd engine about the device",
    "torch._C._acc.PrivateUse1Hooks": "tells torch that the device is available",
    "torch.utils.backend_registration._setup_privateuseone_for_python_backend": "registers the device",
    "torch.utils.backend_registration.generate_methods_for_privateuse1_backend": "adds storage.simgpu()",
    "torch._C._construct_storage_from_data_pointer": "makes a device storage over host memory",
    "torch._C._ExcludeDispatchKeyGuard": "keeps CPU autocast out of device kernels",
    "torch._C._dispatch_has_kernel_for_dispatch_key": "asks which operators already have a kernel",
    "torch.ops.aten.add.Tensor._op_dk": "calls PyTorch's composite kernels past ours",
    "torch.ops.aten.add.Tensor._op": "calls an operator without a detour",
    "torch._C._dispatch_get_all_op_names": "asks which operators exist",
    "torch._C._get_sdp_priority_order": "tells which attention kernel the user prefers",
    "torch._C._dispatch_get_registrations_for_dispatch_key": "lists the CPU's kernels for sparse tensors",
    "torch._C._storage_Use_Count": "tells who holds a storage",
    "torch._C._swap_tensor_impl": "lets Module.to() keep the identity of Parameters",
    "torch.jit._builtins._register_builtin": "lets torch.jit compile a replaced factory",
    "torch._C._current_autograd_node": "tells on which device a backward node runs",
    "torch._C._autograd._get_sequence_nr": "tells on which stream a backward node runs",
    "torch.Generator._cdata": "tells a generator of the device from one of the CPU",
    "torch.Tensor._use_count": "tells whether a graph holds a tensor",
    "torch._C._functions.AccumulateGrad._set_sequence_nr": "empties autograd's queue after a failed backward",
    "torch.autograd.graph._engine_run_backward": "lets an exception in a hook reach its caller",
}
_HINT = "Use torch 2.11 or newer, or set AUTOGRADER_DEVICE=cpu."


def require() -> None:
    """Raise ``SimGpuUnavailable`` unless this torch has every private name listed above."""
    missing = [name for name in _REQUIRED if not _exists(name)]
    if missing:
        reasons = "; ".join(f"{name} ({_REQUIRED[name]})" for name in missing)
        raise SimGpuUnavailable(f"torch {torch.__version__} lacks what the simulated GPU needs: {reasons}. {_HINT}")
    if not os.path.exists(operator_table()):
        raise SimGpuUnavailable(f"torch {torch.__version__} came without {operator_table()}. {_HINT}")
    taken = torch._C._get_privateuse1_backend_name()
    if taken not in ("privateuseone", NAME):
        raise SimGpuUnavailable(f"torch's one slot for extra devices is taken by {taken!r}. Restart without it.")


def _exists(dotted: str) -> bool:
    value = torch
    for part in dotted.split(".")[1:]:
        if not hasattr(value, part):
            try:
                __import__(f"{value.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
        value = getattr(value, part)
    return True


def register_device(backend_module, device_guard) -> None:
    """Give the PrivateUse1 slot our name, module and guard; storages get a ``.simgpu()`` method."""
    from torch.utils import backend_registration

    backend_registration._setup_privateuseone_for_python_backend(
        NAME, backend_module=backend_module, device_guard=device_guard
    )
    backend_registration.generate_methods_for_privateuse1_backend(
        for_tensor=False, for_module=False, for_packed_sequence=False, for_storage=True
    )


# The next block is touched only after require() has passed.
def __getattr__(name: str):
    try:
        return _late()[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


@lru_cache(None)
def _late() -> dict:
    keys, key_set = torch._C.DispatchKey, torch._C.DispatchKeySet
    return {
        "CPU_KEYS": key_set(keys.CPU),
        "SPARSE_CPU_KEYS": key_set(keys.SparseCPU),
        "SPARSE_CSR_CPU_KEYS": key_set(keys.SparseCsrCPU),
        "NESTED_CPU_KEYS": key_set(keys.NestedTensorCPU),
        "AUTOCAST_CPU_KEYS": key_set(keys.AutocastCPU),
        "AUTOCAST_DEVICE_KEYS": key_set(keys.AutocastPrivateUse1),
        "ExcludeKeys": torch._C._ExcludeDispatchKeyGuard,
        "empty_device_tensor": torch._C._acc.create_empty_tensor,
        "storage_at": torch._C._construct_storage_from_data_pointer,
        "set_raw": torch.ops.aten.set_.source_Storage_storage_offset._handle.redispatch_boxed,
        "conj_view": torch._conj,
        "neg_view": torch._neg_view,
        "swap_tensor_impl": torch._C._swap_tensor_impl,
        "DEVICE_TYPE": int(device_type()),
        "current_autograd_node": torch._C._current_autograd_node,
        "next_sequence_number": torch._C._autograd._get_sequence_nr,
        "alias": torch.ops.aten.alias.default._handle.redispatch_boxed,
    }


def redispatch(op):
    """The boxed entry of ``op`` that starts at a given dispatch key: ``redispatch(op)(CPU_KEYS, *args)``."""
    return op._handle.redispatch_boxed


def direct(op):
    """The C++ function behind an operator overload, without the Python method that only passes its arguments on."""
    return op._op


def composite(op):
    """PyTorch's own implementation of ``op`` in terms of other operators, past any kernel registered over it."""
    return functools.partial(op._op_dk, torch._C.DispatchKey.CompositeImplicitAutograd)


def slow_way(op):
    """PyTorch's implementation of a foreach operator that calls another operator for each tensor, past any kernel."""
    return functools.partial(op._op_dk, torch._C.DispatchKey.CompositeExplicitAutograd)


def attention_order() -> list[int]:
    """at::SDPBackend numbers in the order that torch prefers them, or that sdpa_kernel(..., set_priority=True) set."""
    return torch._C._get_sdp_priority_order()


def overload(name: str):
    """The operator ``aten::name``, such as ``add.Tensor``."""
    packet, _, variant = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), variant or "default")


def can_exchange_storages() -> bool:
    """Can two storages swap their memory? Since torch 2.12; before, a storage cannot grow under its views."""
    return hasattr(torch.UntypedStorage, "_swap_data_ptr_")


def storage_use_count(storage: torch.UntypedStorage) -> int:
    """How many hold the C++ storage, the Python object among them."""
    return torch._C._storage_Use_Count(storage._cdata)


def generator_address(generator: torch.Generator) -> int:
    """Which C++ generator this is: a kernel gets another Python object for the one that the caller passed."""
    return generator._cdata


def name_for_jit(stand_in, original) -> None:
    """Let torch.jit take ``stand_in`` for the operator it takes ``original`` for. It goes by addresses: keep it alive."""
    operator = torch.jit._builtins._find_builtin(original)
    if operator is not None:
        torch.jit._builtins._register_builtin(stand_in, operator)


def device_type():
    """The C++ device type of the PrivateUse1 slot."""
    return torch._C._autograd.DeviceType.PrivateUse1


def set_sequence_number(node, number: int) -> None:
    """Where a backward node stands in the engine's queue: the highest number comes first."""
    node._set_sequence_nr(number)


def has_kernel(name: str, key: str) -> bool:
    """Does operator ``aten::name`` have a kernel of its own for ``key``?"""
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


@contextmanager
def replacing_kernels_of_torch() -> Iterator[None]:
    """Within it, torch does not warn that kernels of its own are replaced: that is what is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def kernel_of(name: str, key: str):
    """The kernel that operator ``aten::name`` has for ``key`` now, to be called past whatever is registered later."""
    kernel = torch.library.get_kernel(f"aten::{name}", key)
    return functools.partial(kernel.call_boxed, torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key)))


def kernel_is_in_python(op, key: str) -> bool:
    """Was an operator's kernel for ``key`` written in Python (torch.library)?"""
    name = op._schema.name + (f".{op._schema.overload_name}" if op._schema.overload_name else "")
    return re.search(rf"^{key}: registered at .*\.py:\d+", torch._C._dispatch_dump(name), re.MULTILINE) is not None


def names_of_kernels(key: str) -> set[str]:
    """The operators of aten that have a kernel of their own for ``key``, as ``add.Tensor``."""
    names = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    return {name.removeprefix("aten::") for name in names if name.startswith("aten::")}


def operator_names() -> set[str]:
    """Every operator the dispatcher knows, as ``aten::add.Tensor``."""
    return set(torch._C._dispatch_get_all_op_names())


def operator_table() -> str:
    """Path of native_functions.yaml, the table torch was generated from (it ships in every wheel)."""
    import torchgen

    return os.path.join(os.path.dirname(torchgen.__file__), "packaged", "ATen", "native", "native_functions.yaml")
