"""Which device a recording watches when it is not told."""

from __future__ import annotations

import torch

_chosen: torch.device | None = None


def use(device: torch.device) -> None:
    """Make a device the one that recordings watch from now on; ``setup()`` calls this."""
    global _chosen
    _chosen = device


def default_device() -> torch.device:
    """Return the device chosen by ``setup()``, else CUDA, else the simulated GPU if registered, else the CPU."""
    if _chosen is not None:
        return _chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("simgpu", 0) if hasattr(torch, "simgpu") else torch.device("cpu")
