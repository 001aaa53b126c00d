"""How many simulated devices there are, and which one is current in this thread.

CUDA keeps the current device per thread (cudaSetDevice); every kernel runs with its first tensor's device as the
current one (c10::OptionalDeviceGuard in the generated wrappers), and so does every node of a backward
(Engine::thread_init sets it per worker thread). PyTorch's Python device guard knows device 0 only and cannot be told
otherwise, so all of this is kept here.
"""

from __future__ import annotations

import functools
import os
import threading

import torch

from autograder.errors import SimGpuUnavailable
from autograder.simgpu import compat

VARIABLE = "AUTOGRADER_SIMGPU_DEVICES"
MOST_DEVICES = 16
OURS = {compat.NAME}
"""Device types that mean the simulated GPU; "cuda" is one while a script runs that says it (``cuda_shim``)."""
_Tensor = torch.Tensor


class Devices:
    """The number of devices, and the current one. ``several``: is there more than one? ``used``: did a script ask for one?"""

    def __init__(self) -> None:
        self.count = 1
        self.several = False
        self.used = False
        self._here = threading.local()

    def set_count(self, count: int) -> None:
        """From now on there are this many devices."""
        self.count = count
        self.several = count > 1

    def current(self) -> int:
        """Index of the current device: chosen in this thread, else that of the backward node being computed."""
        if not self.several:
            return 0
        node = compat.current_autograd_node()
        index, chosen_in = getattr(self._here, "chosen", (0, None))
        if node is not None and chosen_in is not node:
            return _index_of_node(node, index)
        return index

    def choose(self, index: int) -> None:
        """Make a device the current one of this thread (cudaSetDevice)."""
        self._here.chosen = index, compat.current_autograd_node()

    def on(self, index: int) -> On:
        """``with DEVICES.on(1):`` makes a device current for a while (c10::DeviceGuard)."""
        return On(self, index)

    def resolve(self, device) -> int:
        """The index a device argument means: an index, a device with or without one, or None for the current one.

        Raises ValueError for a device of another type, RuntimeError (torch.AcceleratorError) for an index that does
        not exist.
        """
        if device is None:
            return self.current()
        if isinstance(device, On):  # torch.cuda.device(1) also names one (_get_device_index, torch/_utils.py)
            device = device.idx
        if isinstance(device, int) and not isinstance(device, bool):
            index = self.current() if device < 0 else device
        else:
            device = torch.device(device)
            if device.type not in OURS:
                raise ValueError(f"Expected a {said_type()} device, but got: {device}")
            index = self.current() if device.index is None else device.index
        self.check(index)
        return index

    def check(self, index: int) -> None:
        """Raise torch.AcceleratorError, as CUDA does, for an index that does not exist."""
        if index >= self.count:
            kind = getattr(torch, "AcceleratorError", RuntimeError)
            raise kind("CUDA error: invalid device ordinal")


def said_type() -> str:
    """How messages call the simulated GPU: as the script does."""
    return "cuda" if "cuda" in OURS else compat.NAME


def said(device: torch.device) -> torch.device:
    """A device as messages name it: a simulated one is called what the script calls it."""
    return torch.device(said_type(), device.index) if device.type == compat.NAME else device


class On:
    """Makes a device current, and puts the earlier one back. Can be entered again."""

    __slots__ = ("_before", "_devices", "_index")

    def __init__(self, devices: Devices, index: int) -> None:
        self._devices = devices
        self._index = index
        self._before: list = []

    def __enter__(self):
        here = self._devices._here
        self._before.append(getattr(here, "chosen", (0, None)))
        self._devices.choose(self._index)
        return self

    def __exit__(self, *exc_info) -> bool:
        self._devices._here.chosen = self._before.pop()
        return False


DEVICES = Devices()


def wanted_count(given: int | None, environment=os.environ) -> int:
    """How many devices to simulate: as given, else AUTOGRADER_SIMGPU_DEVICES, else 1. Raises SimGpuUnavailable."""
    found = environment.get(VARIABLE, "1") if given is None else given
    try:
        count = int(found)
    except ValueError:
        count = 0
    if not 1 <= count <= MOST_DEVICES:
        source = VARIABLE if given is None else "devices"
        raise SimGpuUnavailable(f"expected {source} to be a number from 1 to {MOST_DEVICES}, found {found!r}.")
    return count


def home(args: tuple, kwargs: dict) -> int:
    """Index of the device a kernel runs on: that of its device argument, its first tensor, or the current one."""
    first = None
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.device):
            if value.type in OURS:
                return DEVICES.resolve(value)
        elif first is None:
            first = _index_in(value)
    return DEVICES.current() if first is None else first


def placed(kernel):
    """A kernel that runs with its home as the current device, so that what it makes is there."""

    @functools.wraps(kernel)
    def run(*args, **kwargs):
        if not DEVICES.several:
            return kernel(*args, **kwargs)
        with DEVICES.on(home(args, kwargs)):
            return kernel(*args, **kwargs)

    return run


def _index_in(value) -> int | None:
    if isinstance(value, _Tensor):
        return value.device.index if value.device.type == compat.NAME else None
    if isinstance(value, (list, tuple)):
        return next((index for index in map(_index_in, value) if index is not None), None)
    return None


def _index_of_node(node, otherwise: int) -> int:
    """The device of a backward node: that of its first input on a device (Node::device)."""
    for metadata in getattr(node, "_input_metadata", ()):
        if metadata.device.type == compat.NAME:
            return metadata.device.index
    return otherwise
