"""Where kernels sign in; ``bindings.install()`` hands them to the dispatcher."""

from __future__ import annotations

from collections.abc import Callable

from autograder.simgpu import compat

KERNELS: list[tuple[str, Callable, str]] = []


def kernel(*names: str, keys: tuple[str, ...] = (compat.KERNEL_KEY,)):
    """Make the decorated function the kernel of ``aten::name`` for each of the dispatch keys."""

    def sign_in(function: Callable) -> Callable:
        KERNELS.extend((name, function, key) for name in names for key in keys)
        return function

    return sign_in
