"""torch.backends.cuda.cufft_plan_cache: the simulated GPU computes on the CPU, so the cache never holds a plan.

Its capacity is only remembered; 4096 at first (CUFFT_DEFAULT_CACHE_SIZE, ATen/native/cuda/CuFFTPlanCache.h).
"""

from __future__ import annotations

_MOST_PLANS = 4096
_capacities: dict[int, int] = {}


def _read_only(cache, value) -> None:
    raise RuntimeError(
        ".size is a read-only property showing the number of plans currently in the cache. To change the cache capacity, set "
        "cufft_plan_cache.max_size."
    )


def _capacity(cache) -> int:
    return _capacities.get(cache.device_index, _MOST_PLANS)


def _set_capacity(cache, plans: int) -> None:
    if plans < 0:
        raise RuntimeError(f"cuFFT plan cache size must be non-negative, but got {plans}")
    _capacities[cache.device_index] = plans


def _clear(cache) -> None:
    """Nothing to forget."""


ANSWERS = {
    "size": property(lambda cache: 0, _read_only),
    "max_size": property(_capacity, _set_capacity),
    "clear": _clear,
}
"""What stands in for the attributes of torch.backends.cuda.cuFFTPlanCache."""
