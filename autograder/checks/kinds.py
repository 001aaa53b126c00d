"""Of which dtype, and on which device?"""

from __future__ import annotations

from collections.abc import Callable

import torch

from autograder.checks.nested import tensors_in
from autograder.checks.verdict import failed, passed


def dtype(x, expected: torch.dtype, *, exercise: str | None = None, points: float = 1) -> float:
    """Check that every tensor in ``x`` has the expected dtype. Raises CheckFailed, "wrong dtype"."""
    _expect_all("wrong dtype", x, expected, lambda tensor: tensor.dtype, lambda found: found == expected, exercise)
    return passed(f"the dtype is {expected}", points)


def device(x, expected: torch.device | str, *, exercise: str | None = None, points: float = 1) -> float:
    """Check that every tensor in ``x`` is on the expected device; without an index, any index will do.

    Raises CheckFailed, "wrong device".
    """
    wanted = torch.device(expected)

    def fits(found: torch.device) -> bool:
        return found.type == wanted.type and (wanted.index is None or found.index in (None, wanted.index))

    _expect_all("wrong device", x, wanted, lambda tensor: tensor.device, fits, exercise)
    return passed(f"the device is {wanted}", points)


def _expect_all(rule: str, x, expected, kind_of: Callable, fits: Callable, exercise: str | None) -> None:
    found_any = False
    for path, tensor in tensors_in(x):
        found_any = True
        if not fits(kind_of(tensor)):
            where = f" at {path}" if path else ""
            raise failed(rule, f"expected {expected}", f"found {kind_of(tensor)}{where}", exercise)
    if not found_any:
        raise failed(rule, f"expected a tensor of {expected}", f"found no tensor in {type(x).__name__}", exercise)
