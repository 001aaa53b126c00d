"""Counts copies between host and device, and the moments the host must wait for the device.

Two sources together: operators as a ``TorchDispatchMode`` sees them, and, while a recording runs, ``torch.cuda.synchronize``
and wrapped methods of ``torch.Tensor`` whose reads no mode sees: ``repr``, which switches modes off, and for tensors on the
CPU ``tolist`` and ``numpy``, which read below the dispatcher (on a GPU they copy by an operator). Reading one number (``item``, ``if t > 0``) is a wait, not a copy; ``tolist`` is both. What is
missed: copies and waits inside other libraries (NCCL, CuPy, Numba), ``Event`` and ``Stream`` waits, and everything on
threads that the recording thread did not start through autograd.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.host import STAGED_AT_ONCE
from autograder.trace.meters.patching import call_before
from autograder.trace.sites import is_learners_file

_aten = torch.ops.aten
_SIZE_DEPENDS_ON_VALUES = {
    packet
    for name in ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal", "bincount")
    if (packet := getattr(_aten, name, None)) is not None
}
"""Operators whose result size, or whose Python result, is only known on the host once the device is done."""
_ON_THE_HOST = (os.path.dirname(torch.optim.__file__) + os.sep, torch._tensor_str.__file__)
_READS = {"cpu": ("tolist", "numpy", "__repr__"), "cuda": ("__repr__",)}


class Transfers:
    """Running totals of copies and waits for one device type ("cuda", or "cpu" where only reads are counted)."""

    def __init__(self, device_type: str) -> None:
        self._type = device_type
        self.h2d_count = self.h2d_bytes = self.d2h_count = self.d2h_bytes = self.syncs = 0

    def totals(self) -> tuple[int, int, int, int, int]:
        """Return host-to-device count and bytes, device-to-host count and bytes, and waits."""
        return self.h2d_count, self.h2d_bytes, self.d2h_count, self.d2h_bytes, self.syncs

    def see(self, func, args: tuple, kwargs: dict, result) -> None:
        """Count what one operator call moved or waited for."""
        packet = func.overloadpacket
        if packet is _aten._local_scalar_dense:
            self._number_read(args[0])
        elif packet is _aten._to_copy:
            self._copy(args[0], result, bool(kwargs.get("non_blocking")))
        elif packet is _aten.copy_:
            self._copy(args[1], args[0], bool(args[2] if len(args) > 2 else kwargs.get("non_blocking")))
        elif packet is _aten.lift_fresh:
            self._built_from_python(args[0])
        elif packet in _SIZE_DEPENDS_ON_VALUES or (packet is _aten.index and _has_mask(args[1])):
            self.syncs += args[0].device.type == self._type

    def _copy(self, source: torch.Tensor, target: torch.Tensor, non_blocking: bool) -> None:
        from_device, to_device = source.device.type == self._type, target.device.type == self._type
        if from_device == to_device or "meta" in (source.device.type, target.device.type):
            return
        nbytes = source.numel() * source.element_size()
        if to_device:
            self.h2d_count += 1
            self.h2d_bytes += nbytes
        else:
            self.d2h_count += 1
            self.d2h_bytes += nbytes
        on_host = source if to_device else target
        goes_on = non_blocking and ((to_device and nbytes <= STAGED_AT_ONCE) or on_host.is_pinned())
        self.syncs += not goes_on

    def _built_from_python(self, tensor: torch.Tensor) -> None:
        if tensor.device.type == self._type != "cpu":
            self.h2d_count += 1
            self.h2d_bytes += tensor.numel() * tensor.element_size()
            self.syncs += 1

    def _number_read(self, tensor: torch.Tensor) -> None:
        if tensor.device.type == self._type and not (self._type == "cpu" and _read_for_torchs_own_use()):
            self.syncs += 1

    def _read(self, tensor: torch.Tensor, *_arguments, **_options) -> None:
        self._number_read(tensor)
        if tensor.device.type == self._type != "cpu":
            self.d2h_count += 1
            self.d2h_bytes += tensor.numel() * tensor.element_size()

    @contextmanager
    def reads_counted(self) -> Iterator[None]:
        """Wrap the methods that read below the dispatcher; on leaving, everything is as it was."""
        undo = [call_before(torch.Tensor, name, self._read) for name in _READS.get(self._type, ())]
        if self._type == "cuda":
            undo.append(call_before(torch.cuda, "synchronize", self._waited))
        try:
            yield
        finally:
            for restore in reversed(undo):
                restore()

    def _waited(self, *_arguments, **_options) -> None:
        self.syncs += 1


def _read_for_torchs_own_use() -> bool:
    """Whether PyTorch reads what is on the host also where a GPU is: a step count, the copy that is being printed."""
    frame = sys._getframe(1)
    while frame is not None and not is_learners_file(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith(_ON_THE_HOST):
            return True
        frame = frame.f_back
    return False


def _has_mask(indices) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
