"""torch.use_deterministic_algorithms(True): the operators that CUDA refuses then, and what it fills.

Sources: the calls of alertNotDeterministic in aten/src/ATen/native/cuda, checked against the list in the docstring of
torch.use_deterministic_algorithms, 2.13; ATen/native/cuda/ScanUtils.cuh (wheel) has a deterministic cumsum, which the
docstring still lists. The words are Context.cpp's. Operators that the CPU refuses, too (max_unpool), refuse by themselves.
torch 2.13 no longer asks for CUBLAS_WORKSPACE_CONFIG: ATen/Context.h (wheel) has no alertCuBLASConfigNotDeterministic.
"""

from __future__ import annotations

import importlib
import warnings

import torch

from autograder.simgpu import compat
from autograder.simgpu.registry import kernel

_REFUSED = (
    " does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'. You can turn "
    "off determinism just for this operation, or you can use the 'warn_only=True' option, if that's acceptable for your "
    "application. You can also file an issue at https://github.com/pytorch/pytorch/issues to help us prioritize adding "
    "deterministic support for this operation."
)
_WARNED = (
    " does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True, warn_only=True)'. "
    "You can file an issue at https://github.com/pytorch/pytorch/issues to help us prioritize adding deterministic support "
    "for this operation."
)
_PAD = compat.composite(torch.ops.aten.pad.default)
_MEAN_OR_SUM = (1, 2)  # at::Reduction


def _reduces(arguments) -> bool:
    return arguments["reduction"] in _MEAN_OR_SUM


def _accumulates(arguments) -> bool:
    return bool(arguments.get("accumulate"))


def _has_weights(arguments) -> bool:
    return arguments.get("weights") is not None


def _is_floating(arguments) -> bool:
    return arguments["self"].is_floating_point()


def _multiplies(arguments) -> bool:
    """Sums and means go through index_put, which is deterministic (scatter_impl); the largest and smallest always are."""
    return arguments["reduce"] in ("multiply", "prod") and arguments["index"].numel() > 0


def _takes_maximum(arguments) -> bool:
    return arguments["mode"] == 2 and not arguments.get("sparse")  # EmbeddingBagMode::MAX


#: Operator: what CUDA calls it in the error, and the condition, if there is one.
NOT_DETERMINISTIC = {
    "adaptive_avg_pool2d_backward": ("adaptive_avg_pool2d_backward_cuda", None),
    "_adaptive_avg_pool2d_backward": ("adaptive_avg_pool2d_backward_cuda", None),
    "_adaptive_avg_pool3d_backward": ("adaptive_avg_pool3d_backward_cuda", None),
    "adaptive_max_pool2d_backward": ("adaptive_max_pool2d_backward_cuda", None),
    "avg_pool3d_backward": ("avg_pool3d_backward_cuda", None),
    "max_pool3d_with_indices_backward": ("max_pool3d_with_indices_backward_cuda", None),
    "fractional_max_pool2d_backward": ("fractional_max_pool2d_backward_cuda", None),
    "fractional_max_pool3d_backward": ("fractional_max_pool3d_backward_cuda", None),
    "upsample_linear1d_backward": ("upsample_linear1d_backward_out_cuda", None),
    "upsample_bilinear2d_backward": ("upsample_bilinear2d_backward_out_cuda", None),
    "_upsample_bilinear2d_aa_backward": ("upsample_bilinear2d_aa_backward_out_cuda", None),
    "upsample_bicubic2d_backward": ("upsample_bicubic2d_backward_out_cuda", None),
    "_upsample_bicubic2d_aa_backward": ("upsample_bicubic2d_aa_backward_out_cuda", None),
    "upsample_trilinear3d_backward": ("upsample_trilinear3d_backward_out_cuda", None),
    "reflection_pad1d_backward": ("reflection_pad1d_backward_out_cuda", None),
    "reflection_pad2d_backward": ("reflection_pad2d_backward_cuda", None),
    "reflection_pad3d_backward": ("reflection_pad3d_backward_out_cuda", None),
    "replication_pad1d_backward": ("replication_pad1d_backward_cuda", None),
    "replication_pad2d_backward": ("replication_pad2d_backward_cuda", None),
    "replication_pad3d_backward": ("replication_pad3d_backward_cuda", None),
    "nll_loss2d_forward": ("nll_loss2d_forward_out_cuda_template", _reduces),
    "_ctc_loss_backward": ("ctc_loss_backward_gpu", None),
    "_embedding_bag_backward": ("embedding_bag_backward_cuda_max", _takes_maximum),
    "_embedding_bag_dense_backward": ("embedding_bag_backward_cuda_max", _takes_maximum),
    "put_": ("put_", _accumulates),  # without accumulating the CPU refuses as well
    "histc": ("_histc_cuda with floating point input", _is_floating),
    "bincount": ("_bincount_cuda", _has_weights),
    "grid_sampler_2d_backward": ("grid_sampler_2d_backward_cuda", None),
    "grid_sampler_3d_backward": ("grid_sampler_3d_backward_cuda", None),
    "scatter.reduce": ("scatter_reduce_cuda_kernel", _multiplies),
    "scatter_.reduce": ("scatter_reduce_cuda_kernel", _multiplies),
    "scatter_reduce.two": ("scatter_reduce_cuda_prod_", _multiplies),
    "scatter_reduce_.two": ("scatter_reduce_cuda_prod_", _multiplies),
    "index_reduce": ("index_reduce_cuda", None),
    "index_reduce_": ("index_reduce_cuda", None),
    "median.dim": ("median CUDA with indices output", None),
    "nanmedian.dim": ("median CUDA with indices output", None),
}


def rule_of(name: str):
    """What CUDA says of an operator such as ``scatter.reduce``, its ``out=`` forms included, and when; or None."""
    short, _, overload = name.partition(".")
    found = NOT_DETERMINISTIC.get(name) or NOT_DETERMINISTIC.get(short)
    if found is None and (overload.endswith("_out") or overload == "dim_values"):
        overload = "dim" if overload == "dim_values" else overload.removesuffix("_out")
        found = NOT_DETERMINISTIC.get(f"{short}.{overload}")
    return found


def check(plan, args: tuple, kwargs: dict) -> None:
    """Raise RuntimeError, or warn, if CUDA's kernel of this operator is not deterministic and the program asked for it."""
    if not torch.are_deterministic_algorithms_enabled():
        return
    caller, condition = plan.not_deterministic
    names = [argument.name for argument in plan.op._schema.arguments]
    if condition is not None and not condition({**dict(zip(names, args)), **kwargs}):
        return
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(caller + _REFUSED)
    warnings.warn(caller + _WARNED, UserWarning, stacklevel=2)


@kernel("pad", keys=(compat.AUTOGRAD_KEY, compat.KERNEL_KEY))
def pad_in_a_mode(self, pad, mode="constant", value=None):
    """F.pad(mode="replicate") is made of indexing then: torch.nn.functional.pad does so itself where it sees CUDA."""
    if mode == "replicate" and torch.are_deterministic_algorithms_enabled():
        return importlib.import_module("torch._decomp.decompositions")._replication_pad(self, pad)
    return _PAD(self, pad, mode, value)


def fills() -> bool:
    """Is memory that nothing was written to filled (torch.utils.deterministic.fill_uninitialized_memory)?"""
    return torch.are_deterministic_algorithms_enabled() and torch.utils.deterministic.fill_uninitialized_memory


def fill(host: torch.Tensor) -> None:
    """NaN, the largest integer, or True (fill_empty_deterministic_ in ATen/native/TensorFactories.h)."""
    if host.is_floating_point() or host.is_complex():
        host.fill_(float("nan"))
    else:
        host.fill_(True if host.dtype is torch.bool else torch.iinfo(host.dtype).max)
