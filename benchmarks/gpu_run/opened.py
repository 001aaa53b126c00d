"""The device of a run: CUDA as it is, or the simulated GPU set up as the comparison needs it."""

from __future__ import annotations

import torch

CAPACITY = 64 << 30


def opened(name: str) -> torch.device:
    """Return the device called "cuda", "simgpu" or "cpu". With CUDA nothing of the simulated GPU is loaded."""
    if name != "simgpu":
        return torch.device(name)
    from autograder import simgpu

    device = simgpu.enable(CAPACITY)
    torch.simgpu.set_cublas_workspaces(True)
    return device
