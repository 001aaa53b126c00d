"""The set-up cell of a notebook: which lesson, and which device."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import torch

from autograder.errors import SetupError, SimGpuUnavailable, UnknownDevice, UnknownLesson
from autograder.host import available_memory
from autograder.journal.watching import watch
from autograder.trace import devices
from autograder.units import GiB, KiB, MiB, human

DATA = Path(__file__).with_name("data")
DEVICES = ("cuda", "simgpu", "cpu")
DEFAULT_CAPACITY = 2 * GiB
SEED = 0
_UNITS = {"": 1, "B": 1, "KIB": KiB, "MIB": MiB, "GIB": GiB}
_LOST_ON_CPU = "reserved memory, fragmentation, capacity and copies are not shown"

_lesson: str | None = None


def setup(lesson: str) -> torch.device:
    """Begin a lesson: choose its device, seed PyTorch, and print one line that says which device it is.

    The device is CUDA if there is one, else the simulated GPU, else plain CPU tensors counted like a GPU's.
    ``AUTOGRADER_DEVICE`` (cuda, simgpu or cpu) overrides. ``AUTOGRADER_CAPACITY`` (bytes, or such as ``512MiB``) is
    the simulated GPU's size: 2 GiB by default, but at most half of the memory the host has left. Calling it again is
    fine.

    Raises
    ------
    UnknownLesson
        If there is no such lesson; the message names the nearest.
    UnknownDevice
        If ``AUTOGRADER_DEVICE`` names no device, or CUDA where there is none.
    SetupError
        If ``AUTOGRADER_CAPACITY`` is no size.
    SimGpuUnavailable
        If the simulated GPU was asked for by name and cannot be registered.
    """
    global _lesson
    _lesson = _known(lesson)
    device, line = _choose(os.environ.get("AUTOGRADER_DEVICE", ""))
    devices.use(device)
    torch.manual_seed(SEED)
    watch(_lesson)
    print(line)
    return device


def current_lesson() -> str | None:
    """Return the lesson that ``setup()`` was last called with, or None."""
    return _lesson


def device_module() -> ModuleType:
    """Return ``torch.cuda``, ``torch.simgpu``, or a module with the same memory functions over the CPU ledger."""
    device = devices.default_device()
    if device.type == "cpu":
        from autograder.trace.meters import cpu_module

        return cpu_module
    return torch.get_device_module(device)


def _known(lesson: str) -> str:
    lessons = sorted(json.loads(file.read_text(encoding="utf-8"))["slug"] for file in DATA.glob("*.json"))
    if not lessons or lesson in lessons:
        return lesson
    nearest = difflib.get_close_matches(str(lesson), lessons, n=1, cutoff=0.3)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(lessons)}"
    raise UnknownLesson(f"no lesson is called {lesson!r}; {hint}")


def _choose(wanted: str) -> tuple[torch.device, str]:
    name = wanted.strip().lower()
    if name and name not in DEVICES:
        raise UnknownDevice(f"AUTOGRADER_DEVICE={wanted!r} names no device; expected one of: {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UnknownDevice("AUTOGRADER_DEVICE=cuda, but PyTorch finds no CUDA device here; unset it or use simgpu")
    if name == "cuda" or (not name and torch.cuda.is_available()):
        return _cuda()
    if name == "cpu":
        return _cpu("asked for by AUTOGRADER_DEVICE")
    try:
        return _simgpu()
    except SimGpuUnavailable as reason:
        if name == "simgpu":
            raise
        return _cpu(f"no simulated GPU: {str(reason).rstrip('.')}")


def _cuda() -> tuple[torch.device, str]:
    device = torch.device("cuda", torch.cuda.current_device())
    properties = torch.cuda.get_device_properties(device)
    return device, f"{properties.name}, {human(properties.total_memory)}, {_torch()}"


def _simgpu() -> tuple[torch.device, str]:
    from autograder import simgpu

    capacity = _capacity(os.environ.get("AUTOGRADER_CAPACITY", ""))
    _keep_interrupts_harmless()
    return simgpu.enable(capacity), f"Simulated GPU, {human(capacity)}, {_torch()}"


def _keep_interrupts_harmless() -> None:
    """ipykernel puts Python's own handler of Ctrl-C back before every cell: replace it again."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or _ready_for_interrupts in shell.events.callbacks["pre_run_cell"]:
        return
    shell.events.register("pre_run_cell", _ready_for_interrupts)


def _ready_for_interrupts(*_) -> None:
    from autograder.simgpu import interrupts

    interrupts.install()


def _cpu(reason: str) -> tuple[torch.device, str]:
    from autograder.trace.meters.cpu import keep_counting

    keep_counting()
    return torch.device("cpu"), f"CPU, counted like a GPU, {_torch()} ({reason}; {_LOST_ON_CPU})"


def _torch() -> str:
    return f"torch {torch.__version__.split('+')[0]}"


def _capacity(wanted: str) -> int:
    if wanted.strip():
        return size_in_bytes(wanted, "AUTOGRADER_CAPACITY")
    spare = available_memory()
    return DEFAULT_CAPACITY if spare is None else min(DEFAULT_CAPACITY, spare // 2)


def size_in_bytes(wanted: str, name: str) -> int:
    """Read a size in bytes from what was written, such as "512MiB" or "1.5GiB".

    Raises SetupError, which says what ``name`` was set to, if it is no size.
    """
    size = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]iB|B|)\s*", wanted, re.IGNORECASE)
    nbytes = int(float(size[1]) * _UNITS[size[2].upper()]) if size else 0
    if nbytes < 1:
        raise SetupError(f"{name}={wanted!r} is no size; expected bytes, or such as 512MiB or 1.5GiB")
    return nbytes
