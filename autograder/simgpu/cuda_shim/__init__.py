"""Unmodified CUDA scripts on the simulated GPU, for as long as a ``with`` block lasts.

``torch.device("cuda")`` is a C++ object whose name cannot be changed, so nothing renames it. Instead

* factories (``torch.zeros(..., device="cuda")``) reach the dispatcher's CUDA key, which is empty where torch finds no
  GPU; a fallback there calls the same operator for ``simgpu``;
* the few functions that ask C++ for CUDA before they dispatch are replaced, and so are torch.cuda's own: ``table.py``
  lists every replacement with its reason;
* a tensor of the simulated GPU answers ``cuda:0`` when a script asks for its device (``devices.py``).

``docs/run.md`` says where this cannot work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import torch

from autograder import simgpu
from autograder.errors import SetupError, SimGpuUnavailable

_installed = False


def is_installed() -> bool:
    """Does "cuda" mean the simulated GPU in this process now?"""
    return _installed


@contextmanager
def cuda_means_simgpu(capacity: int | None = None, devices: int | None = None) -> Iterator[torch.device]:
    """Let "cuda" mean the simulated GPU, everywhere in this process, until the block ends.

    Parameters
    ----------
    capacity : int, optional
        Size of each simulated device in bytes.
    devices : int, optional
        How many simulated devices there are.

    Yields
    ------
    torch.device
        ``simgpu:0``, which scripts see as ``cuda:0``.

    Raises
    ------
    SetupError
        If there is a real CUDA device, which would be hidden, or the block is already entered.
    SimGpuUnavailable
        If the simulated GPU cannot be registered.
    """
    global _installed
    if _installed:
        raise SetupError("cuda already means the simulated GPU here: leave that `with` block before entering another")
    if torch.cuda.is_available():
        raise SetupError(
            "this machine has a CUDA device: run the script on it, instead of hiding it behind a simulated one"
        )
    device = simgpu.enable()
    before = torch.simgpu.mem_get_info()[1], torch.simgpu.device_count()
    simgpu.enable(capacity, devices=devices)
    from autograder.simgpu import conversions, eager, environment_settings
    from autograder.simgpu.cuda_shim import device_guard, dispatcher, table
    from autograder.simgpu.cuda_shim.devices import cuda_means_ours

    environment_settings.read_again()

    with ExitStack() as undo:
        undo.callback(_put_back, *before)
        undo.enter_context(cuda_means_ours())
        undo.enter_context(device_guard.cuda_guard_served())
        undo.enter_context(conversions.serving_other_names())
        undo.enter_context(eager.without_a_sentence())
        undo.enter_context(dispatcher.cuda_key_served())
        undo.enter_context(table.replaced())
        _installed = True
        try:
            yield device
        finally:
            _installed = False


def _put_back(capacity: int, devices: int) -> None:
    torch.simgpu.set_capacity(capacity)
    if devices != torch.simgpu.device_count():
        torch.simgpu.empty_cache()
    with suppress(SimGpuUnavailable):  # a device that is still in use stays
        simgpu.enable(devices=devices)
