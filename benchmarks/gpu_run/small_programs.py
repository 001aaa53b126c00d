"""The fidelity programs, scaled down."""

from __future__ import annotations

from benchmarks.fidelity_programs import training
from benchmarks.gpu_run.opened import opened

FULL = False


def items(device: str) -> list[str]:
    return [] if device == "cpu" else [program.name for program in training.programs()]


def run(item: str, device: str, full: bool = FULL):
    program = next(program for program in training.programs() if program.name == item)
    target = opened(device)
    yield item, training.measure(program, target, full)
    training.empty_device(target)
