"""Does the simulated GPU slow down as a program goes on, or as a leak grows?

    python benchmarks/cost_growth.py [--most-steps 10000] [--most-live 100000]

Each row measures the same operator in turns with fewer steps done, or fewer storages alive, so that a busy machine slows
all of them alike: microseconds per operator, and the ratio to the first row. A flat column is what we want; the
plain CPU beside it shows how much of a rise is the machine's own (caches, the garbage collector).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from autograder import simgpu

OPERATORS_A_BURST = 200
BURSTS = 15
TENSOR = 128  # elements: one 512 B block each


def burst(tensor: torch.Tensor) -> float:
    """Microseconds per operator over one burst, each result freed at once."""
    start = time.perf_counter()
    for _ in range(OPERATORS_A_BURST):
        tensor.neg()
    return (time.perf_counter() - start) / OPERATORS_A_BURST * 1e6


def quickest_half(figures: list[float]) -> float:
    """Median of the quicker half: what is left of a measurement on a busy machine."""
    return statistics.median(sorted(figures)[: (len(figures) + 1) // 2])


def over_live_storages(device, counts: list[int]) -> list[float]:
    """Cost per operator with ``count`` more storages alive, for each count in turn, ``BURSTS`` times over."""
    source = torch.ones(TENSOR, device=device)
    figures = [[] for _ in counts]
    kept: list[torch.Tensor] = []
    for _ in range(BURSTS if counts[-1] <= 10_000 else 3):
        for figure, count in zip(figures, counts):
            while len(kept) < count:
                kept.append(source.clone())
            figure.extend(burst(source) for _ in range(5))
        kept.clear()
    return [quickest_half(figure) for figure in figures]


def over_steps(device, counts: list[int]) -> list[float]:
    """Cost per operator after ``count`` training steps of a small model in the same process."""
    model = torch.nn.Linear(16, 16).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs = torch.ones(4, 16, device=device)
    figures, done = [], 0
    for count in counts:
        while done < count:
            optimizer.zero_grad()
            model(inputs).sum().backward()
            optimizer.step()
            done += 1
        figures.append(quickest_half([burst(inputs) for _ in range(BURSTS)]))
    return figures


def powers(first: int, last: int) -> list[int]:
    """10, 100, 1,000, ... up to ``last``."""
    counts = []
    while first <= last:
        counts.append(first)
        first *= 10
    return counts


def show(what: str, counts: list[int], simulated: list[float], host: list[float]) -> None:
    """One table."""
    print(f"{what:>14}  simgpu us/op  ratio     cpu us/op  ratio")
    for count, ours, theirs in zip(counts, simulated, host):
        print(f"{count:14,}{ours:14.1f}{ours / simulated[0]:7.2f}{theirs:14.2f}{theirs / host[0]:7.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most-steps", type=int, default=10_000)
    parser.add_argument("--most-live", type=int, default=100_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = simgpu.enable()
    for what, most, measure in (
        ("live storages", arguments.most_live, over_live_storages),
        ("steps done", arguments.most_steps, over_steps),
    ):
        counts = powers(10, most)
        show(what, counts, measure(device, counts), measure("cpu", counts))


if __name__ == "__main__":
    main()
