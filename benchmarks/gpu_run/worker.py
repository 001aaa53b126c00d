"""One child of a run: told a part's module and a device, it is sent the names of items, and says what comes of each.

    python -m benchmarks.gpu_run.worker MODULE DEVICE

It says first what the device is. Each line it reads is an item's name, or empty to ask which there are; each that it writes is a JSON document (``results.py``). What items print goes
to stderr, which the parent keeps the end of.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import sys
import threading
import time
import traceback

LISTED = ("numpy", "matplotlib", "pytest", "yaml", "nbformat", "jupytext", "IPython", "ipywidgets", "nbgrader")
"""Packages whose presence is recorded with the machine."""


def main(module: str, device: str, *needs: str) -> None:
    """Serve items until there are no more, or the parent is gone."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    say, part = _speaker(), None
    missing = [name for name in LISTED if importlib.util.find_spec(name) is None]
    say({"about": {**_about(device), "missing": missing}})
    for line in sys.stdin:
        item = line.strip()
        if not item:
            say(_listed(module, device, needs))
            continue
        part = part or importlib.import_module(module)
        say(_run(part, item, device, say))
        gc.collect()


def _listed(module: str, device: str, needs: tuple[str, ...]) -> dict:
    """The part's items, each with the variables that its process needs; why there are none, if an import failed."""
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    try:
        part = importlib.import_module(module)
        asked = getattr(part, "environment", lambda item: {})
        return {"items": {item: asked(item) for item in part.items(device)}, "missing": missing, "why": ""}
    except ImportError as error:
        return {"items": {}, "missing": missing, "why": f"{type(error).__name__}: {error}"}


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _speaker():
    """A function that writes to what was stdout; from now on prints go to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    return say


def _run(part, item: str, device: str, say) -> dict:
    """Run one item; returns its last line."""
    began, error = time.monotonic(), ""
    try:
        for name, value in part.run(item, device):
            say({"item": item, "name": name, "value": value})
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # noqa: BLE001 - whatever an item raises is its result
        traceback.print_exc()
        error = f"{type(raised).__name__}: {str(raised).strip()[:2000]}"
        raised.__traceback__ = None
    seconds = round(time.monotonic() - began, 3)
    return {"item": item, "end": True, "error": error, "seconds": seconds, "spoilt": _spoilt(device)}


def _spoilt(device: str) -> bool:
    """Does the device fail from now on, as after an assert in a kernel?"""
    if device != "cuda":
        return False
    import torch

    try:
        torch.cuda.synchronize()
        torch.ones(1, device="cuda").item()
    except RuntimeError:
        return True
    return False


def _about(device: str) -> dict:
    import torch

    about = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda, "python": sys.version.split()[0]}
    if device == "cpu":
        return {**about, "gpu": "none", "capability": [0, 0], "total_memory": 0, "cudnn": None}
    from benchmarks.gpu_run.opened import opened

    module = torch.get_device_module(opened(device))
    properties = module.get_device_properties(0)
    return {
        **about,
        "gpu": module.get_device_name(),
        "capability": list(module.get_device_capability()),
        "total_memory": properties.total_memory,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        "command": os.environ.get("AUTOGRADER_ON_GPU_COMMAND", ""),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
