"""Processes that a script starts by ``spawn`` (torch.multiprocessing.spawn, one per rank) get the same device.

Such a child imports the script anew before anything else. While a run lasts, multiprocessing is told to import
``child_main.py`` instead, which first lets "cuda" mean the simulated GPU and then executes the script under the name it
would have had. Each child that used device memory says at its end what it used. Forked children (a DataLoader's
workers) inherit everything and need nothing; programs started by ``subprocess`` are not followed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import multiprocessing
import multiprocessing.spawn
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

_VARIABLE = "AUTOGRADER_RUN_CHILD"
_MAIN = str(Path(__file__).with_name("child_main.py"))


@contextlib.contextmanager
def followed(file: str, module: str | None, capacity: int, devices: int) -> Iterator[None]:
    """Let spawned children of the script ``file``, or of the module of that name, have simulated GPUs like these."""
    original = multiprocessing.spawn.get_preparation_data

    def get_preparation_data(name):
        data = original(name)
        if module is None and data.get("init_main_from_path") == os.path.normpath(file):
            data["init_main_from_path"] = _MAIN
        elif module is not None and data.get("init_main_from_name") == module:
            del data["init_main_from_name"]
            data["init_main_from_path"] = _MAIN
        return data

    multiprocessing.spawn.get_preparation_data = get_preparation_data
    wanted = {"file": file, "module": module, "capacity": capacity, "devices": devices}
    os.environ[_VARIABLE] = json.dumps(wanted)
    try:
        yield
    finally:
        multiprocessing.spawn.get_preparation_data = original
        del os.environ[_VARIABLE]


def script_as_child() -> dict:
    """In a child: bring the device up for good, execute the script as ``__mp_main__``, return its variables."""
    from autograder.simgpu.cuda_shim import cuda_means_simgpu

    wanted = json.loads(os.environ[_VARIABLE])
    stack = contextlib.ExitStack()
    stack.enter_context(cuda_means_simgpu(wanted["capacity"], wanted["devices"]))
    stack.enter_context(followed(**wanted))
    atexit.register(_say, stack)
    if wanted["module"] is not None:
        return runpy.run_module(wanted["module"], run_name="__mp_main__", alter_sys=True)
    return runpy.run_path(wanted["file"], run_name="__mp_main__")


def _say(stack: contextlib.ExitStack) -> None:
    """What this process used, if it used any."""
    import torch

    from autograder.run.report import child_lines
    from autograder.run.watch import all_devices

    figures = all_devices(torch.device("simgpu", 0))
    lines = child_lines(multiprocessing.current_process().name, figures)
    sys.stderr.write("".join(f"{line}\n" for line in lines))  # in one piece: other ranks write too
    stack.close()
