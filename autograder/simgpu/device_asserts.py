"""Device-side assertions: an index out of range that is noticed late, and leaves the device unusable (off at first).

A CUDA kernel that finds a bad index cannot raise: it was launched long before it runs. It traps; no later kernel runs;
the host learns of it when it next waits for the device, at a line that may have nothing to do with the mistake; and
from then on every call fails until the process ends. PyTorch's CPU kernels, which compute here, raise at once instead:
while assertions are on, their complaint is kept until the host waits.

Sources (torch 2.13): the wording is c10/cuda/CUDAException.cpp with CUDAMiscFunctions.cpp; the assertions are those of
aten/src/ATen/native/cuda.
"""

from __future__ import annotations

import contextlib
import os
import re

import torch

from autograder.simgpu import schema

CUDA_ERROR_ASSERT = 710  # cudaErrorAssert, in cuda.h
_MESSAGE = (
    "CUDA error: device-side assert triggered\n"
    "Search for `cudaErrorAssert' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more "
    "information.\n"
)
_LATE = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
_END = "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
_SCATTER = (
    "ScatterGatherKernel.cu",
    'idx_dim >= 0 && idx_dim < index_size && "scatter gather kernel index out of bounds"',
)
_INDEX = "IndexKernel.cu", '-sizes[i] <= index && index < sizes[i] && "index out of bounds"'
_TAKE = "IndexKernel.cu", 'idx < numel && idx >= -numel && "cuda_take_put_kernel() index out of bounds"'
_FILL = "IndexKernel.cu", 'idx >= -self_dim_size && idx < self_dim_size && "index out of bounds"'
_COPY = "IndexKernel.cu", 'idx >= 0 && idx < self_dim_size && "index_copy_(): index out of bounds"'
_SELECT = "Indexing.cu", "srcIndex < srcSelectDimSize"
_ADD = "Indexing.cu", "dstIndex < dstAddDimSize"
_TARGET = "Loss.cu", "t >= 0 && t < n_classes"
#: operator -> CUDA's file and the assertion in it
ASSERTIONS = {
    "index_select": _SELECT,
    "embedding_renorm_": _SELECT,
    "_embedding_bag": ("EmbeddingBag.cu", "input[emb] < numRows"),
    "_embedding_bag_forward_only": ("EmbeddingBag.cu", "input[emb] < numRows"),
    "index_add": _ADD,
    "index_reduce": _ADD,
    "index_copy": _COPY,
    "index_fill": _FILL,
    "index": _INDEX,
    "_unsafe_index": _INDEX,
    "index_put": _INDEX,
    "_index_put_impl": _INDEX,
    "_unsafe_index_put": _INDEX,
    "take": _TAKE,
    "put": _TAKE,
    "gather": _SCATTER,
    "scatter": _SCATTER,
    "scatter_add": _SCATTER,
    "scatter_reduce": _SCATTER,
    "nll_loss_forward": _TARGET,
    "nll_loss_backward": _TARGET,
    "nll_loss2d_forward": ("NLLLoss2d.cu", "t >= 0 && t < n_classes"),
    "nll_loss2d_backward": ("NLLLoss2d.cu", "t >= 0 && t < n_classes"),
    "multi_margin_loss": ("MultiMarginLoss.cu", 'target_k >= 0 && target_k < dim && "target index is out of bounds"'),
    "binary_cross_entropy": (_TARGET[0], "input_val >= zero && input_val <= one"),
    "masked_scatter": ("IndexKernel.cu", "totalElements <= srcSize"),
    "multinomial": ("TensorCompare.cu", "probability tensor contains either `inf`, `nan` or element < 0"),
    "_assert_async": ("TensorCompare.cu", "input[0] != 0"),
}
# What the CPU kernels say of values, as opposed to shapes and dimensions, which CUDA checks on the host as well.
_OF_VALUES = re.compile(
    r"^(index_copy_\(\): )?index .*out of (range|bounds)|^out of range: tried|^Target .* out of bounds"
    r"|^select\(\): index .* out of range|^Index .* not in the valid range|^target out of range"
    r"|^INDICES element is out of DATA bounds|between 0 and 1$|^Number of elements of source <|^probability tensor contains|^Expected Tensor with single nonzero"
)


class Assertions:
    """Whether assertions are modelled, and what became of the device.

    Attributes
    ----------
    enabled : bool
        Are bad indices kept until the host waits?
    launch_blocking : bool
        Does the host wait after every kernel, as with CUDA_LAUNCH_BLOCKING=1? Then the error names the right line.
    tripped : bool
        Has a kernel failed an assertion since the last reset? No later kernel runs.
    failed : str or None
        The last failed assertion, as CUDA prints it on the terminal.
    reported : bool
        Has the host learnt of it? Then every operation raises.
    """

    def __init__(self):
        self.enabled = self.launch_blocking = self.tripped = self.reported = False
        self.failed = None

    def reset(self) -> None:
        """A working device again. What was computed after the assertion stays zero."""
        self.tripped = self.reported = False

    def catches(self, operator: str, error: Exception) -> bool:
        """Would CUDA's kernel of this operator have asserted where the CPU's raised ``error``? If so, note it."""
        source = ASSERTIONS.get(operator) or ASSERTIONS.get(operator.rstrip("_"))
        if not self.enabled or source is None or not _OF_VALUES.search(str(error)):
            return False
        self.failed = f"aten/src/ATen/native/cuda/{source[0]}: Assertion `{source[1]}` failed."
        self.tripped = True
        if self.launch_blocking:
            self.report()
        return True

    def report(self) -> None:
        """The host waits for the device: raise torch.AcceleratorError if an assertion failed before."""
        if not self.tripped:
            return
        self.reported = True
        error = getattr(torch, "AcceleratorError", RuntimeError)(
            _MESSAGE + ("" if self.launch_blocking else _LATE) + _END
        )
        error.error_code = CUDA_ERROR_ASSERT
        raise error

    def refuse(self) -> None:
        """Raise the same error again once the host has learnt of it."""
        if self.reported:
            self.report()


ASSERTS = Assertions()


def set_device_side_asserts(enabled: bool, launch_blocking: bool | None = None) -> None:
    """From now on, keep bad indices until the host waits (True), or raise at the faulty line as at first (False).

    ``launch_blocking`` is by default what the environment variable CUDA_LAUNCH_BLOCKING says.
    """
    if launch_blocking is None:
        launch_blocking = os.environ.get("CUDA_LAUNCH_BLOCKING") == "1"
    ASSERTS.enabled, ASSERTS.launch_blocking = bool(enabled), bool(launch_blocking)


def reset_device() -> None:
    """Make the device usable again after a device-side assertion; real CUDA needs a new process. Tensors stay."""
    ASSERTS.reset()


@contextlib.contextmanager
def device_side_asserts(launch_blocking: bool | None = None):
    """Let bad indices fail as on CUDA inside the block; afterwards the device works again.

    Embedding, index_select, advanced indexing, gather, scatter, nll_loss and the others in ``ASSERTIONS`` do not raise
    there. The next call that makes the host wait (``.item()``, ``.cpu()``, ``synchronize()``, printing) raises
    torch.AcceleratorError, "CUDA error: device-side assert triggered", and so does every later operation, until the
    block ends or ``reset_device()`` is called. With ``launch_blocking=True``, or CUDA_LAUNCH_BLOCKING=1 in the
    environment, the faulty line itself raises. The block passes errors on: catch them inside or around it.

    Yields
    ------
    Assertions
        Its ``failed`` is the line that CUDA prints on the terminal, such as "... Assertion `srcIndex <
        srcSelectDimSize` failed.", or None.
    """
    before = ASSERTS.enabled, ASSERTS.launch_blocking
    set_device_side_asserts(True, launch_blocking)
    ASSERTS.failed = None
    try:
        yield ASSERTS
    finally:
        ASSERTS.enabled, ASSERTS.launch_blocking = before
        ASSERTS.reset()


def unrun(plan, args: list, kwargs: dict):
    """The results of a kernel that never ran: the right shapes, and zeros (on CUDA: whatever was there).

    Raises torch.AcceleratorError where only running it could tell the shapes, or once the host has learnt of it.
    """
    ASSERTS.refuse()
    written = [where and schema.argument(where, args, kwargs) for where in plan.written_returns]
    if all(tensor is not None for tensor in written) and not plan.resizes:
        return tuple(written) if len(written) > 1 else next(iter(written), None)
    results = _shapes(plan, args, kwargs)
    if not isinstance(results, tuple):
        return _filled(written[0] if written else None, results)
    return tuple(_filled(*pair) for pair in zip(written, results))


def _shapes(plan, args, kwargs):
    try:
        return plan.op(*map(_on_meta, args), **{name: _on_meta(value) for name, value in kwargs.items()})
    except NotImplementedError:
        return ASSERTS.report()


def _on_meta(value):
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, (list, tuple)):
        return [_on_meta(item) for item in value]
    if isinstance(value, torch.device):
        return torch.device("meta")
    return None if isinstance(value, torch.Generator) else value


def _filled(written, result):
    """The argument that the result is, with the result's shape; else zeros."""
    if isinstance(result, (list, tuple)):
        return [_filled(None, item) for item in result]
    if not isinstance(result, torch.Tensor):
        return result
    if written is None:
        return torch.empty_strided(result.size(), result.stride(), dtype=result.dtype, device="cpu").zero_()
    return written if written.size() == result.size() else written.resize_(result.size())
