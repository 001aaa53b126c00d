"""The generic kernel: unwrap the operands, run PyTorch's CPU kernel, wrap the results."""

from __future__ import annotations

import functools
import re

import torch
from torch.autograd.graph import increment_version

from autograder.simgpu import (
    compat,
    determinism,
    foreach,
    interrupts,
    randomness,
    refusals,
    schema,
    scratch,
    wider_types,
    workspaces,
)
from autograder.simgpu.device_asserts import ASSERTS, unrun
from autograder.simgpu.devices import DEVICES, OURS, home
from autograder.simgpu.errors_like_cuda import check_mixed, check_scalars, device_mismatch
from autograder.simgpu.lazy_clone import BORROWERS, before_writing
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.storage import CPU, follow, forget_aliases, unwrap, wrap

_Tensor = torch.Tensor
_NUMBERS = (int, float, bool, complex)
_AS_THEY_ARE = frozenset((*_NUMBERS, str, type(None), torch.dtype, torch.layout, torch.memory_format))
_cpu_autocast_enabled = torch.is_autocast_enabled
_kept_interrupts = interrupts.kept
_ExcludeKeys = compat.ExcludeKeys
_AUTOCAST_CPU_KEYS = compat.AUTOCAST_CPU_KEYS


def fallback(op, *args, **kwargs):
    """Any operator without a kernel of its own. Raises NotImplementedError for one that a program wrote for the CPU."""
    plan = schema.plan(op)
    if plan.for_cpu_only:
        raise NotImplementedError(
            f"Could not run '{op._schema.name}' with arguments from the 'CUDA' backend: its only kernel is for CPU "
            f"tensors. Register one for cuda (or for every device, device_types=None)."
        )
    return run(plan, args, kwargs)


def on_host(op, *args):
    """Call an operator on the host memory behind device tensors and wrap what it returns: for backward kernels, whose
    operands were checked in forward."""
    host = [unwrap(value) if isinstance(value, _Tensor) and not value.is_cpu else value for value in args]
    return _wrap(op(*host), [])


def kernel_for(op):
    """The generic kernel tied to one operator."""
    return functools.partial(_run_bound, schema.plan(op))


def _run_bound(plan, *args, **kwargs):
    return run(plan, args, kwargs)


def run(plan: schema.Plan, args: tuple, kwargs: dict, finish=None, pairs: list | None = None):
    """Run one operator on device tensors, with their device as the current one."""
    if not DEVICES.several:
        return run_here(plan, args, kwargs, finish, pairs)
    with DEVICES.on(home(args, kwargs)):
        return run_here(plan, args, kwargs, finish, pairs)


def run_here(plan: schema.Plan, args: tuple, kwargs: dict, finish=None, pairs: list | None = None):
    """Run one operator on device tensors, making new tensors on the current device; ``finish`` may change the host's
    result before it gets its blocks; ``pairs`` receives each operand on the device with its CPU alias.

    Raises RuntimeError with CUDA's words when operands are on different devices, torch.OutOfMemoryError when the
    results do not fit, torch.AcceleratorError after a device-side assertion.
    """
    if _kept_interrupts:
        interrupts.deliver()
    if pairs is None:
        pairs = []
    if BORROWERS:
        before_writing(plan, args, kwargs)
    strangers: list = []
    host_args = []
    for value in args:
        host_args.append(value if type(value) in _AS_THEY_ARE else _to_host(value, pairs, strangers))
    host_kwargs = {name: _to_host(a, pairs, strangers) for name, a in kwargs.items()} if kwargs else kwargs
    if strangers and pairs:
        if plan.foreach and foreach.are_mixed(args):
            return foreach.one_by_one(plan, args, kwargs)
        check_mixed(plan, args, kwargs, strangers)
    if DEVICES.several and len({tensor.device for tensor, _ in pairs}) > 1:
        if plan.foreach:
            return foreach.one_by_one(plan, args, kwargs)
        raise device_mismatch(plan, args, kwargs)
    if plan.does_more:
        _do_more(plan, args, kwargs, host_args, pairs)
    try:
        if _cpu_autocast_enabled("cpu"):
            with _ExcludeKeys(_AUTOCAST_CPU_KEYS):
                result = _call(plan, host_args, host_kwargs)
        else:
            result = _call(plan, host_args, host_kwargs)
    except BaseException:
        if plan.resizes:  # it may have failed after it had changed an alias's size
            for tensor, _ in pairs:
                forget_aliases(tensor)
        raise
    if finish is not None:
        result = finish(result)
    if plan.resizes:
        for tensor, alias in pairs:
            follow(tensor, alias)
    for position in plan.version_lists:
        increment_version(args[position])
    results = _results(plan, result, args, kwargs, pairs)
    if plan.scratch is not None:
        scratch.take(plan, args)
    return results


def _do_more(plan, args, kwargs, host_args, pairs):
    """What a few operators do on CUDA, or need, before they are called."""
    if plan.cpu_only:
        raise refusals.cpu_only(plan)
    if plan.unlike_cpu is not None:
        refusals.check_type(plan.unlike_cpu, pairs)
    for position in plan.number_positions:
        if position < len(host_args) and type(host_args[position]) in _NUMBERS:
            host_args[position] = _number_as_tensor(host_args[position], pairs)
    if plan.multiplies and pairs and workspaces.counted():
        workspaces.for_product(plan.short, args, kwargs)
    if plan.not_deterministic is not None:
        determinism.check(plan, args, kwargs)
    if plan.scalars_on_host:
        check_scalars(args, kwargs)
    if plan.syncs:
        if plan.name != "repeat_interleave.Tensor" or _output_size(args, kwargs) is None:
            LEDGER.synced()
    elif plan.indexing:
        _count_index_traffic(plan, args)


def _call(plan, args, kwargs):
    if ASSERTS.tripped:
        return unrun(plan, args, kwargs)
    try:
        if plan.random:
            return randomness.call(plan, args, kwargs)
        return plan.call(*args, **kwargs)
    except NotImplementedError as error:
        if wider_types.can(plan, args):
            return wider_types.call(plan, args, kwargs)
        raise refusals.missing(plan, error) from None
    except (RuntimeError, IndexError) as error:
        refuse_if_host_is_full(error)
        if not ASSERTS.catches(plan.short, error):
            raise
    return unrun(plan, args, kwargs)


def _to_host(value, pairs, strangers):
    """Replace device tensors by CPU aliases. Top level on purpose: a recursive closure would be a reference cycle
    that keeps every operand until the next garbage collection."""
    if isinstance(value, _Tensor):
        if value.is_cpu:
            strangers.append(value)
            return value
        if value.is_meta:
            return value
        alias = unwrap(value)
        pairs.append((value, alias))
        return alias
    if isinstance(value, (list, tuple)):
        return [_to_host(item, pairs, strangers) for item in value]
    if isinstance(value, torch.device):
        return CPU if value.type in OURS else value
    return value


def _output_size(args, kwargs):
    """repeat_interleave_common (ATen/native/Repeat.h) asks the device how long the result is unless it is told."""
    return args[1] if len(args) > 1 else kwargs.get("output_size")


def _count_index_traffic(plan, args):
    """A boolean mask waits for nonzero(), and an index on the CPU for its copy; of a mask on the CPU its positions go over
    from pinned memory, without a wait (expandTensors, ATen/native/IndexingUtils.h). ``x[mask] = number`` becomes
    masked_fill and does not wait (canDispatchToMaskedFill, TensorAdvancedIndexing.cpp); a value of one element that lies
    on the device looks the same here, and does wait there."""
    indices = [index for index in args[1] or () if index is not None]
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    is_one_mask = len(masks) == len(indices) == 1 and not masks[0].is_cpu
    if plan.puts and is_one_mask and args[2].numel() == 1:
        return
    for index in indices:
        is_mask = index.dtype in (torch.bool, torch.uint8)
        if index.is_cpu and index.dim():
            elements = int(index.count_nonzero()) * index.dim() if is_mask else index.numel()
            LEDGER.copied_to_device(elements * torch.int64.itemsize if is_mask else elements * index.element_size())
        if is_mask != index.is_cpu and (is_mask or index.dim()):
            LEDGER.synced()


def _number_as_tensor(number, pairs):
    """A plain number stands for PyTorch's "wrapped number": alone it has the default type of its kind, and beside a
    tensor of the same or a higher kind it takes that tensor's type."""
    scalar = torch.tensor(number, device=CPU)
    if pairs and _takes_kind(pairs[0][1].dtype, scalar.dtype):
        return torch.tensor(number, dtype=pairs[0][1].dtype, device=CPU)
    return scalar


def _takes_kind(dtype, number_dtype) -> bool:
    if dtype.is_complex:
        return number_dtype != torch.bool
    if dtype.is_floating_point:
        return number_dtype.is_floating_point
    return dtype != torch.bool and not number_dtype.is_floating_point and not number_dtype.is_complex


def _results(plan, result, args, kwargs, pairs):
    written = plan.written_returns
    if not plan.writes and isinstance(result, _Tensor):
        return _wrap(result, pairs)
    if isinstance(result, tuple):
        return tuple(
            schema.argument(written[k], args, kwargs) if k < len(written) and written[k] else _wrap(item, pairs)
            for k, item in enumerate(result)
        )
    if written and written[0] is not None and isinstance(result, (_Tensor, list)):
        return schema.argument(written[0], args, kwargs)
    return _wrap(result, pairs)


def _wrap(value, pairs):
    if isinstance(value, _Tensor):
        for tensor, alias in pairs:
            if alias is value:
                return tensor
        return wrap(value)
    if isinstance(value, (list, tuple)):
        return [_wrap(item, pairs) for item in value]
    return value


def refuse_if_host_is_full(error: Exception) -> None:
    """A result larger than the host's memory is larger than the device's: say so in the device's words."""
    asked = re.search(r"you tried to allocate (\d+) bytes", str(error))
    index = DEVICES.current()
    if asked and int(asked[1]) > LEDGER.allocators[index].capacity:
        LEDGER.allocate(int(asked[1]), index)
