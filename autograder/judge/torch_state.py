"""Switches of torch and Python that one exercise may have flipped and the next must not feel."""

from __future__ import annotations

import gc
import random
import sys

import torch

_MODE_STACKS = ("dispatch", "function")
_POP = {
    "dispatch": lambda: torch._C._pop_torch_dispatch_stack(None),
    "function": torch._C._pop_torch_function_stack,
}


class Switches:
    """Remembers the switches as they are now; ``restore()`` sets them back."""

    def __init__(self) -> None:
        self._grad = torch.is_grad_enabled()
        self._dtype = torch.get_default_dtype()
        self._deterministic = torch.are_deterministic_algorithms_enabled()
        self._threads = torch.get_num_threads()
        self._gc = gc.isenabled(), gc.get_threshold()
        self._recursion = sys.getrecursionlimit()
        self._trace, self._profile = sys.gettrace(), sys.getprofile()
        self._callbacks = list(gc.callbacks)
        self._modes = {kind: _depth(kind) for kind in _MODE_STACKS}

    def restore(self) -> None:
        """Set everything back, seed the generators, and let go of reference cycles."""
        torch.set_grad_enabled(self._grad)
        torch.set_default_dtype(self._dtype)
        torch.set_default_device(None)
        torch.use_deterministic_algorithms(self._deterministic)
        torch.set_num_threads(self._threads)
        torch.manual_seed(0)
        random.seed(0)
        sys.setrecursionlimit(self._recursion)
        for get, put, before in (
            (sys.gettrace, sys.settrace, self._trace),
            (sys.getprofile, sys.setprofile, self._profile),
        ):
            if get() is not before:
                put(before)
        for kind, depth in self._modes.items():
            _pop_to(kind, depth)
        enabled, threshold = self._gc
        gc.set_threshold(*threshold)
        (gc.enable if enabled else gc.disable)()
        gc.callbacks[:] = self._callbacks
        gc.collect()


def _depth(kind: str) -> int:
    return getattr(torch._C, f"_len_torch_{kind}_stack", lambda: 0)()


def _pop_to(kind: str, depth: int) -> None:
    """Leave modes (``TorchDispatchMode``, ``TorchFunctionMode``) that were entered and never left."""
    while _depth(kind) > depth:
        _POP[kind]()
