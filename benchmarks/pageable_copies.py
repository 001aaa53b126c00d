"""Does a copy make the host wait? Measured on a GPU: ``python benchmarks/pageable_copies.py``.

While the GPU is kept busy for some 100 ms, a copy is asked for. A call that returns at once did not wait; one that takes
as long as the GPU was busy did. Prints, for each kind of copy and size, the milliseconds of the call (median of five).
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

KiB = 1 << 10
_BUSY_CYCLES = 150_000_000
SIZES = (1 * KiB, 32 * KiB, 64 * KiB, 64 * KiB + 4, 128 * KiB, 1024 * KiB)


def milliseconds(copy) -> float:
    """How long the host is in ``copy()`` while the GPU is busy."""
    taken = []
    for _ in range(5):
        torch.cuda.synchronize()
        torch.cuda._sleep(_BUSY_CYCLES)
        began = time.perf_counter()
        kept = copy()
        taken.append(1e3 * (time.perf_counter() - began))
        torch.cuda.synchronize()
        del kept
    return statistics.median(taken)


def kinds(nbytes: int) -> dict:
    """Each kind of copy of so many bytes, to be called."""
    pageable, there = torch.zeros(nbytes // 4), torch.zeros(nbytes // 4, device="cuda")
    pinned, target, pinned_target = (
        pageable.pin_memory(),
        torch.zeros(nbytes // 4),
        torch.zeros(nbytes // 4).pin_memory(),
    )
    return {
        "pageable to GPU, non_blocking": lambda: there.copy_(pageable, non_blocking=True),
        "pageable to GPU": lambda: there.copy_(pageable),
        "pinned to GPU, non_blocking": lambda: there.copy_(pinned, non_blocking=True),
        "GPU to pageable, non_blocking": lambda: target.copy_(there, non_blocking=True),
        "GPU to pinned, non_blocking": lambda: pinned_target.copy_(there, non_blocking=True),
        "GPU to host, to(cpu, non_blocking)": lambda: there.to("cpu", non_blocking=True),
    }


def main() -> int:
    """Print the table. Exit status 2 without a CUDA device."""
    if not torch.cuda.is_available():
        print("needs a CUDA device: the simulated one takes no time")
        return 2
    milliseconds(lambda: None)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, busy for about", end=" ")
    print(f"{milliseconds(torch.cuda.synchronize):.0f} ms")
    for nbytes in SIZES:
        for name, copy in kinds(nbytes).items():
            copy()
            print(f"{nbytes / KiB:9.3f} KiB  {name:36} {milliseconds(copy):8.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
