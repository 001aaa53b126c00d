"""How long the simulated allocator takes: microseconds per malloc and free, and relative to steady state.

    python benchmarks/allocator_speed.py [--operations 100000] [--repeat 3]

steady       one block of 4 KiB, freed and allocated again
random       up to 2,000 live blocks of 512 B to 40 MiB in random order
expandable   the same with expandable segments
history      the same while the last 100,000 events are kept
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autograder.simgpu.allocator import AllocatorSettings, CachingAllocator

CAPACITY = 1 << 40
SIZES = (512, 4096, 65536, 1 << 20, 3 << 20, 12 << 20, 40 << 20)
MOST_LIVE = 2000


def steady(allocator: CachingAllocator, operations: int) -> float:
    """Seconds per pair."""
    allocator.free(allocator.malloc(4096))
    start = time.perf_counter()
    for _ in range(operations // 2):
        allocator.free(allocator.malloc(4096))
    return (time.perf_counter() - start) / (operations // 2)


def mixed(allocator: CachingAllocator, operations: int) -> float:
    """Seconds per pair: twice the mean of a malloc or free."""
    rng = random.Random(0)
    choices = [(rng.random() < 0.48, rng.random(), rng.choice(SIZES)) for _ in range(operations)]
    live = []
    start = time.perf_counter()
    for frees, position, size in choices:
        if live and (frees or len(live) > MOST_LIVE):
            index = int(position * len(live))
            live[index], live[-1] = live[-1], live[index]
            allocator.free(live.pop())
        else:
            live.append(allocator.malloc(size))
    return 2 * (time.perf_counter() - start) / operations


def make(expandable: bool = False, history: bool = False) -> CachingAllocator:
    allocator = CachingAllocator(CAPACITY, settings=AllocatorSettings(expandable_segments=expandable))
    allocator.record_history(history)
    return allocator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    cases = {
        "steady": lambda: steady(make(), options.operations),
        "random": lambda: mixed(make(), options.operations),
        "expandable": lambda: mixed(make(expandable=True), options.operations),
        "history": lambda: mixed(make(history=True), options.operations),
    }
    microseconds = {name: 1e6 * min(case() for _ in range(options.repeat)) for name, case in cases.items()}
    print(f"{'case':<12}{'us per malloc+free':>20}{'relative':>10}")
    for name, value in microseconds.items():
        print(f"{name:<12}{value:>20.2f}{value / microseconds['steady']:>10.2f}")


if __name__ == "__main__":
    main()
