"""The fidelity programs, at full size."""

from __future__ import annotations

from benchmarks.gpu_run import small_programs


def items(device: str) -> list[str]:
    return small_programs.items(device)


def run(item: str, device: str):
    return small_programs.run(item, device, full=True)
