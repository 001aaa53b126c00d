"""Which sequences of requests the allocator is asked, under which settings. No torch here: settings are read at its start.

The settings are those of PyTorch's "Optimizing memory usage with PYTORCH_CUDA_ALLOC_CONF" (CUDA semantics).
"""

from __future__ import annotations

SETTINGS = {
    "default": "",
    "expandable": "expandable_segments:True",
    "split": "max_split_size_mb:40",
    "round": "roundup_power2_divisions:4",
    "collect": "garbage_collection_threshold:0.6",
}
SEEDS = (0, 1)


def items() -> list[str]:
    """``allocator/SETTING/SEED``, neighbours with the same setting."""
    return [f"allocator/{setting}/{seed}" for setting in SETTINGS for seed in SEEDS]


def environment(item: str) -> dict[str, str]:
    """The variable that the process of this item starts with."""
    return {"PYTORCH_CUDA_ALLOC_CONF": SETTINGS[item.split("/")[1]]}
