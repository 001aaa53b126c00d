"""What the generic kernel must know of an operator, read once from its schema."""

from __future__ import annotations

import torch

from autograder.simgpu import compat, determinism, operator_table, refusals, scratch

# Operators whose CUDA kernels make the host wait for the device. Source: calls of item(), nonzero() or
# memcpy_and_sync() in ATen/native/cuda and in the composite code above it, torch 2.13.
_SYNCING = {
    "aten::nonzero",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::unique_dim_consecutive",
    "aten::masked_select",
    "aten::equal",
    "aten::is_nonzero",
    "aten::repeat_interleave.Tensor",
    "aten::bincount",
    "aten::histc",
    "aten::_linalg_check_errors",
    "aten::_coalesce",
    "aten::_to_sparse",
}
# Operators whose device kernels also take CPU tensors of one or more dimensions: indices (TensorAdvancedIndexing.cpp),
# lengths of packed sequences (PackedSequence.cpp), positions to split at (TensorShape.cpp).
_MIXED = {
    "aten::index.Tensor",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
    "aten::_unsafe_index.Tensor",
    "aten::_unsafe_index_put",
    "aten::copy_",
    "aten::_pack_padded_sequence",
    "aten::_pad_packed_sequence",
    "aten::_pack_padded_sequence_backward",
    "aten::tensor_split.tensor_indices_or_sections",
    "aten::repeat_interleave.Tensor",
}
# torch::should_allow_numbers_as_tensors: these take a plain number back where their schema says Tensor.
_TAKING_NUMBERS = {"add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide"}
_INDEXING = {"index", "_unsafe_index"}
_PUTTING = {"index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}
# Arguments that must be on the CPU (convert_tensor_to_scalar_list in ATen/native/ForeachUtils.h).
_ON_HOST = {
    "_foreach_addcmul.Tensor",
    "_foreach_addcmul_.Tensor",
    "_foreach_addcdiv.Tensor",
    "_foreach_addcdiv_.Tensor",
}
# Operators whose CUDA kernels ask for a cuBLAS handle (ATen/native/cuda/Blas.cpp).
_MULTIPLYING = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot", "_addmm_activation"}
_RESIZING = {"aten::resize_as_", "aten::resize_", "aten::set_"}


class Plan:
    """One operator: which arguments it writes and returns, and what CUDA would do besides computing.

    ``written_returns`` holds, for each result, ``(position, name)`` of the argument it is, or None for a new tensor.
    """

    __slots__ = (
        "call",
        "checked",
        "cpu_only",
        "does_more",
        "for_cpu_only",
        "foreach",
        "indexing",
        "mixed",
        "multiplies",
        "name",
        "not_deterministic",
        "number_positions",
        "op",
        "pointwise",
        "puts",
        "random",
        "resizes",
        "scalars_on_host",
        "scratch",
        "short",
        "syncs",
        "takes_generator",
        "unlike_cpu",
        "version_lists",
        "writes",
        "written_returns",
    )

    def __init__(self, op):
        schema = op._schema
        full = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
        name = self.name = full.removeprefix("aten::")
        self.op = op
        self.call = compat.direct(op)
        namespace, self.short = schema.name.split("::")
        self.for_cpu_only = namespace != "aten" and compat.kernel_is_in_python(op, "CPU")
        self.written_returns = [_written_argument(result, schema.arguments) for result in schema.returns]
        self.writes = any(self.written_returns)
        self.resizes = schema.name in _RESIZING or any(a.kwarg_only and _is_written(a) for a in schema.arguments)
        self.mixed = schema.name in _MIXED or full in _MIXED
        self.syncs = schema.name in _SYNCING or full in _SYNCING
        self.multiplies = self.short.rstrip("_") in _MULTIPLYING
        self.foreach = self.short.startswith("_foreach_")
        self.puts = self.short in _PUTTING
        self.indexing = self.puts or self.short in _INDEXING
        self.checked = name in operator_table.device_checked()
        self.scalars_on_host = name in _ON_HOST
        self.not_deterministic = determinism.rule_of(name)
        self.cpu_only = name in operator_table.cpu_only()
        self.unlike_cpu = refusals.of_types(self.short)
        self.scratch = scratch.SCRATCH.get(self.short)
        self.takes_generator = any(a.name == "generator" for a in schema.arguments)
        self.random = torch.Tag.nondeterministic_seeded in op.tags
        self.pointwise = torch.Tag.pointwise in op.tags
        self.number_positions = _number_positions(self.short, schema.arguments)
        self.does_more = bool(
            self.number_positions
            or self.multiplies
            or self.syncs
            or self.indexing
            or self.not_deterministic
            or self.scalars_on_host
            or self.cpu_only
            or self.unlike_cpu
        )
        self.version_lists = [k for k, a in enumerate(schema.arguments) if self._bumps_list(a)]

    def _bumps_list(self, argument) -> bool:
        """CUDA's foreach kernels count the tensors of a list as changed themselves (increment_version in
        ATen/native/cuda/Foreach*.cu); autograd does it only for single tensors."""
        return self.foreach and _is_written(argument)


def _number_positions(short, arguments) -> list[int]:
    """Where a plain number must be made a tensor before the operator is called again."""
    if short.rstrip("_") in _TAKING_NUMBERS:
        return []
    return [
        position
        for position, argument in enumerate(arguments)
        if str(argument.type) in ("Tensor", "Optional[Tensor]") and not argument.kwarg_only
    ]


def _is_written(argument) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _written_argument(result, arguments):
    if not _is_written(result):
        return None
    for position, argument in enumerate(arguments):
        if argument.alias_info is not None and argument.alias_info.before_set == result.alias_info.before_set:
            return position, argument.name
    return None


def argument(where: tuple[int, str], args, kwargs):
    """The argument at ``(position, name)``, however it was passed."""
    position, name = where
    return args[position] if position < len(args) else kwargs[name]


_plans: dict = {}


def plan(op) -> Plan:
    """The plan of an operator overload (cached)."""
    found = _plans.get(op)
    if found is None:
        found = _plans[op] = Plan(op)
    return found
