"""Memory that CUDA's libraries take once and keep: cuBLAS's workspaces, cuDNN's dropout state.

Off unless asked for. On CUDA they are part of memory_allocated from the first matrix product on, but they are no part
of what a program does: their size depends on the GPU (8.1 MiB or 32 MiB for each thread that multiplies), and nothing
a learner writes can change or leak them. Lessons measure growth and peaks, which they shift by a constant.
``enable(True)``, ``torch.simgpu.set_cublas_workspaces(True)`` or AUTOGRADER_CUBLAS_WORKSPACES=1 counts them, as
benchmarks/fidelity.py does before it compares with CUDA.

Source of sizes and rules: aten/src/ATen/cuda/CublasHandlePool.cpp (parseChosenWorkspaceSize,
parseCUDABlasLtWorkspaceSize, getCUDABlasLtWorkspace) and cuda/detail/DeviceThreadHandles.h.
"""

from __future__ import annotations

import os
import re
import threading

import torch

from autograder.simgpu import compat
from autograder.units import KiB

DEFAULT_SIZE = 4096 * KiB * 2 + 16 * KiB * 8  # ":4096:2:16:8"
HOPPER_SIZE = 4096 * 8 * KiB  # compute capability 9.0
LT_SIZE = 1024 * KiB
HOPPER_MULTIPROCESSORS = 132  # H100 (SXM) and H200
THREADS_PER_MULTIPROCESSOR, BYTES_PER_THREAD = 2048, 24
"""cuDNN's dropout state: one generator per thread. Measured, 6,488,064 B on an H200 with 132 multiprocessors
(tests/golden); "slightly over 2MB" on smaller GPUs, says cudnn/RNN.cpp."""
_LT_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
VARIABLE = "AUTOGRADER_CUBLAS_WORKSPACES"
_MULTIPROCESSORS = "AUTOGRADER_SIMGPU_MULTIPROCESSORS"

_counted = os.environ.get(VARIABLE, "") not in ("", "0")
_lock = threading.Lock()
_kept: dict[tuple, torch.Tensor] = {}
_free_handles: list[int] = []
_handles = 0
_thread = threading.local()


class _Handle:
    """A thread's cuBLAS handle; it goes back to the pool when the thread ends, and its workspace stays."""

    def __init__(self):
        global _handles
        with _lock:
            if _free_handles:
                self.number = _free_handles.pop()
            else:
                self.number = _handles
                _handles += 1

    def __del__(self, _give_back=_free_handles.append):
        _give_back(self.number)


def enable(counted: bool) -> None:
    """Count workspaces from now on, or give back those counted and stop."""
    global _counted
    _counted = bool(counted)
    if not _counted:
        clear()
        _kept.clear()


def counted() -> bool:
    """Are workspaces counted?"""
    return _counted


def clear() -> None:
    """Give back cuBLAS's workspaces, as torch._C._cuda_clearCublasWorkspaces() does; the next product takes new ones."""
    with _lock:
        for key in [key for key in _kept if key[0] != "dropout"]:
            del _kept[key]


def for_product(short: str, args: tuple, kwargs: dict) -> None:
    """Take what a matrix product needs on this thread and stream, if it was not taken before.

    On CUDA a device's backward has a thread of its own, and so a handle. Some products with a bias go through cuBLASLt,
    which has a workspace of its own. A product of nothing calls neither (ATen/native/cuda/Blas.cpp).
    """
    device = args[0].device
    if any(isinstance(operand, torch.Tensor) and not operand.numel() for operand in args):
        return
    where = (_handle(), device.index, _stream())
    _take(("cublas", *where), chosen_size(), device)
    apart = os.environ.get("TORCH_CUBLASLT_UNIFIED_WORKSPACE") != "1"
    if apart and short == "addmm" and _goes_through_lt(*args[:3], kwargs):
        _take(("cublaslt", *where), chosen_lt_size(), device)


def _goes_through_lt(bias, first, second, kwargs) -> bool:
    """isInputCompliesAddmmCudaLt in ATen/native/cuda/Blas.cpp."""
    return (
        os.environ.get("DISABLE_ADDMM_CUDA_LT") != "1"
        and kwargs.get("beta", 1) == 1
        and bias.dim() == 1
        and bias.shape[0] == second.shape[1]
        and bias.is_contiguous()
        and first.dtype in _LT_TYPES
        and min(*first.shape, *second.shape) > 1
    )


def _handle():
    if compat.current_autograd_node() is not None:
        return "backward"
    if not hasattr(_thread, "handle"):
        _thread.handle = _Handle()
    return _thread.handle.number


def for_dropout(device: torch.device) -> None:
    """Take cuDNN's dropout state, once per device (get_dropout_state in cudnn/RNN.cpp)."""
    _take(("dropout", device.index), dropout_state_size(), device)


def dropout_state_size() -> int:
    """Bytes of cuDNN's dropout state on the simulated device, or on what AUTOGRADER_SIMGPU_MULTIPROCESSORS says."""
    count = os.environ.get(_MULTIPROCESSORS) or torch.simgpu.get_device_properties().multi_processor_count
    return int(count) * THREADS_PER_MULTIPROCESSOR * BYTES_PER_THREAD


def set_environment_like(capability: tuple[int, int]) -> None:
    """Count workspaces in this process as a GPU of this compute capability takes them, where the user set nothing.

    cuBLAS and cuDNN take more on Hopper; the simulated device says that it is an A100.
    """
    for name, value in environment_like(capability).items():
        os.environ.setdefault(name, value)


def environment_like(capability: tuple[int, int]) -> dict[str, str]:
    """Variables with which a process counts workspaces as a GPU of this compute capability takes them."""
    found = {"CUBLAS_WORKSPACE_CONFIG": f":{chosen_size('', tuple(capability)) // KiB}:1"}
    if tuple(capability) == (9, 0):
        found[_MULTIPROCESSORS] = str(HOPPER_MULTIPROCESSORS)
    return found


def chosen_size(config: str | None = None, capability: tuple[int, int] | None = None) -> int:
    """Bytes of one cuBLAS workspace.

    Parameters
    ----------
    config : str, optional
        ``:SIZE:COUNT`` pairs with sizes in KiB, such as ``:4096:2:16:8``; by default CUBLAS_WORKSPACE_CONFIG. Without
        any pair in it, the default of the GPU.
    capability : (int, int), optional
        Compute capability; by default the simulated device's.
    """
    config = os.environ.get("CUBLAS_WORKSPACE_CONFIG", "") if config is None else config
    pairs = re.findall(r":([0-9]+):([0-9]+)", config)
    if pairs:
        return sum(int(size) * KiB * int(count) for size, count in pairs)
    if capability is None:
        capability = torch.simgpu.get_device_capability()
    return HOPPER_SIZE if tuple(capability) == (9, 0) else DEFAULT_SIZE


def chosen_lt_size() -> int:
    """Bytes of a cuBLASLt workspace: CUBLASLT_WORKSPACE_SIZE (KiB) or 1 MiB, at most cuBLAS's own."""
    wanted = re.match(r"\s*([0-9]+)", os.environ.get("CUBLASLT_WORKSPACE_SIZE", ""))
    size = int(wanted[1]) * KiB if wanted else LT_SIZE
    return size if os.environ.get("TORCH_CUBLASLT_UNIFIED_WORKSPACE") == "0" else min(size, chosen_size())


def _stream() -> int:
    return getattr(torch.simgpu.current_stream(), "stream_id", 0)


def _take(key, size, device):
    with _lock:
        if key in _kept or not size:
            return
    workspace = torch.empty(size, dtype=torch.uint8, device=device)
    with _lock:
        _kept.setdefault(key, workspace)
