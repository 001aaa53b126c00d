"""Switches of torch and Python that one exercise may have flipped and the next must not feel."""

from __future__ import annotations

import _thread
import gc
import random
import sys
import time

import torch

_MOMENT_SECONDS = 1.0
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
        self._witness = [self]
        self._recursion = sys.getrecursionlimit()
        self._trace, self._profile = sys.gettrace(), sys.getprofile()
        self._callbacks = list(gc.callbacks)
        self._monitors = _monitors()
        self._modes = {kind: _depth(kind) for kind in _MODE_STACKS}

    def flipped(self) -> list[str]:
        """Name what could change other people's results and is still on."""
        found = [f"a torch {kind} mode was still entered" for kind, n in self._modes.items() if _depth(kind) != n]
        if sys.gettrace() is not self._trace:
            found.append("`sys.settrace` was still on")
        if sys.getprofile() is not self._profile or _monitors() != self._monitors:
            found.append("a profiler was still on")
        if len(gc.callbacks) != len(self._callbacks):
            found.append("`gc.callbacks` were still on")
        if not self._collector_sees():
            found.append("objects put out of sight by `gc.freeze` were still there")
        if _saved_tensors_hooks() is not None:
            found.append("hooks for saved tensors were still on")
        return found

    def _collector_sees(self) -> bool:
        """Is what was made last still in sight? (Counting what is frozen would take longer than many a check.)"""
        return any(thing is self._witness for thing in gc.get_objects())

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
        while _saved_tensors_hooks() is not None:
            torch._C._autograd._pop_saved_tensors_default_hooks()
        for tool in _monitors().keys() - self._monitors.keys():
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.free_tool_id(tool)
        enabled, threshold = self._gc
        gc.set_threshold(*threshold)
        (gc.enable if enabled else gc.disable)()
        gc.callbacks[:] = self._callbacks
        if not self._collector_sees():
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._witness = [self]
        gc.collect()


class Threads:
    """Remembers how many threads there are now."""

    def __init__(self) -> None:
        self._before = _thread._count()

    def still_running(self) -> list[str]:
        """Say how many threads were started since, after giving them a moment to end."""
        patience = 100
        while _thread._count() > self._before and patience:
            time.sleep(_MOMENT_SECONDS / 100)
            patience -= 1
        more = _thread._count() - self._before
        return [f"{more} {'thread' if more == 1 else 'threads'} of yours still ran"] if more > 0 else []


def _monitors() -> dict[int, str]:
    """Return the tools in use of ``sys.monitoring`` (Python 3.12 and newer)."""
    monitoring = getattr(sys, "monitoring", None)
    names = {number: monitoring.get_tool(number) for number in range(6)} if monitoring else {}
    return {number: name for number, name in names.items() if name is not None}


def _saved_tensors_hooks():
    """Return the innermost default hooks for saved tensors, or None."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False)


def _depth(kind: str) -> int:
    return getattr(torch._C, f"_len_torch_{kind}_stack", lambda: 0)()


def _pop_to(kind: str, depth: int) -> None:
    """Leave modes (``TorchDispatchMode``, ``TorchFunctionMode``) that were entered and never left."""
    while _depth(kind) > depth:
        _POP[kind]()
