"""Programs of which a figure measured on a GPU was published (``benchmarks/published_figures.py``).

That module's ``FIGURES`` holds one entry per figure with ``name`` and ``program``, a function of the device. A program
that returns readings is believed; of any other the highest memory is read.
"""

from __future__ import annotations

import importlib

import torch

from benchmarks.fidelity_programs.training import empty_device
from benchmarks.gpu_run.opened import opened


def _figures() -> dict:
    home = importlib.import_module("benchmarks.published_figures")
    return {figure.name: figure for figure in home.FIGURES}


def items(device: str) -> list[str]:
    return [] if device == "cpu" else list(_figures())


def run(item: str, device: str):
    target = opened(device)
    module = torch.get_device_module(target)
    empty_device(target)
    module.reset_peak_memory_stats()
    returned = _figures()[item].program(target)
    module.synchronize()
    readings = {
        "allocated": module.memory_allocated(),
        "peak": module.max_memory_allocated(),
        "reserved": module.max_memory_reserved(),
    }
    plain = isinstance(returned, (int, float, str, dict, list, tuple))
    yield item, {**readings, "returned": returned if plain else None}
