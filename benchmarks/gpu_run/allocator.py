"""The allocator's sequences of requests, recorded step by step, each setting in a process of its own."""

from __future__ import annotations

from benchmarks.fidelity_programs import allocator_sequences, allocator_settings
from benchmarks.gpu_run.opened import opened


def items(device: str) -> list[str]:
    return [] if device == "cpu" else allocator_settings.items()


def environment(item: str) -> dict[str, str]:
    """The allocator reads its settings when its process starts."""
    return allocator_settings.environment(item)


def run(item: str, device: str):
    yield item, allocator_sequences.replay(item, opened(device))
