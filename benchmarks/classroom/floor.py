"""The least that grading can take: the cells of each notebook, run in processes that have imported everything.

Each notebook runs in a fork of one process that has imported PyTorch and matplotlib; so many at a time as there are
workers. There is no kernel, no messages, no database. A cell that hangs is ended after its time limit, as in grading.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat


def seconds(notebooks: list[Path], workers: int, timeout: int, environment: dict) -> float:
    """Return the wall time of the cells of all notebooks, imports not counted."""
    command = [sys.executable, __file__, str(workers), str(timeout), *map(str, notebooks)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _run(path: Path, timeout: int) -> None:
    """Execute the cells in one namespace, like a kernel: an error ends its cell only."""
    namespace = {"__name__": "__main__"}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            signal.alarm(timeout)
            try:
                exec(compile(cell.source, "<cell>", "exec"), namespace)  # noqa: S102 - it is what a kernel does
            except Exception:  # noqa: BLE001, S110 - as in a kernel
                pass
            finally:
                signal.alarm(0)


def _stopped(number, frame):
    raise TimeoutError


def main() -> None:
    """Run all notebooks and print the seconds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot  # noqa: F401
    import torch
    import torch._dynamo

    torch.set_num_threads(1)
    workers, timeout, *paths = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    signal.signal(signal.SIGALRM, _stopped)
    running = 0
    started = time.monotonic()
    for path in paths:
        if running == workers:
            os.wait()
            running -= 1
        running += 1
        if os.fork() == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            _run(Path(path), timeout)
            os._exit(0)
    while running:
        os.wait()
        running -= 1
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
