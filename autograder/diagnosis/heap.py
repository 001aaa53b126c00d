"""Look at the Python heap without leaving a mark on it.

Everything this package stores while it searches lives in ``Refs`` and ``Table``, two private types that
the search skips, so that the searcher never finds itself.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor

_PACKAGE = str(Path(__file__).parents[1])
_FEW = 128  # gc.get_referrers compares every reference with every target: above this a set is faster
_CHUNK = 512  # objects whose references are compared with that set at once


class Refs(list):
    """A list the search does not see."""


class Table(dict):
    """A dict the search does not see."""


class Budget:
    """Seconds the search may use; ``spent`` turns true once, and stays so."""

    def __init__(self, seconds: float):
        self._deadline = time.monotonic() + seconds
        self.spent = False

    def left(self) -> bool:
        if not self.spent and time.monotonic() > self._deadline:
            self.spent = True
        return not self.spent

    def within(self, things: Iterable) -> Iterator:
        """The things, one after the other, as long as there is time."""
        for index, thing in enumerate(things):
            if index % 1024 == 0 and not self.left():
                return
            yield thing


@contextmanager
def collector_paused():
    """Keep the garbage collector from freeing a reference cycle while it is being looked at."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def live_tensors() -> Refs:
    """Return every tensor that has a Python object, whoever owns it.

    Types are compared, and no object is asked ``isinstance``: that reads ``o.__class__``, which wakes lazy objects
    of torch that print a FutureWarning.
    """
    kinds = _with_subclasses(torch.Tensor)
    everything = Refs(gc.get_objects())
    return Refs(itertools.compress(everything, map(kinds.__contains__, map(type, everything))))


def _with_subclasses(kind: type) -> set[type]:
    found, ahead = set(), [kind]
    while ahead:
        kind = ahead.pop()
        if kind not in found:
            found.add(kind)
            ahead.extend(type.__subclasses__(kind))
    return found


def storage_pointer(tensor: torch.Tensor) -> int:
    """Return the address of a tensor's bytes, or 0 where it has none (meta, fake, sparse, freed)."""
    if isinstance(tensor, FakeTensor):  # it would warn
        return 0
    try:
        with torch._C.DisableTorchFunctionSubclass():
            return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError, TypeError):
        return 0


class Referrers:
    """Who refers to what, found level by level and remembered for one search."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self._parents = Table()

    def of(self, child: object) -> Refs:
        if id(child) not in self._parents:
            self.look_up(Refs([child]))
        return self._parents.get(id(child), Refs())

    def look_up(self, children: Iterable[object]) -> Refs:
        """Find the referrers of all ``children`` in one pass over the heap; return those seen first here."""
        level = Refs(c for c in children if id(c) not in self._parents)
        if not level or not self._budget.left():
            return Refs()
        for child in level:
            self._parents[id(child)] = Refs()
        found = Refs(_referrers(level, self._budget))
        for parent in found:
            self._file(parent)
        return found

    def _file(self, parent: object) -> None:
        if self._is_ours(parent):
            return
        seen = set()
        for child in gc.get_referents(parent):
            parents = self._parents.get(id(child))
            if parents is not None and child is not parent and id(child) not in seen:
                seen.add(id(child))
                if not any(p is parent for p in parents):
                    parents.append(parent)

    def _is_ours(self, parent: object) -> bool:
        if inspect.isframe(parent):
            return parent.f_code.co_filename.startswith(_PACKAGE)
        return type(parent).__module__.startswith(__package__)

    def visible(self, parents: Iterable[object]) -> Refs:
        return Refs(p for p in parents if not self._is_ours(p))


def _referrers(level: Refs, budget: Budget) -> Iterator[object]:
    if len(level) <= _FEW:
        yield from gc.get_referrers(*level)
        return
    wanted = {id(child) for child in level}
    everything = Refs(gc.get_objects())
    for start in range(0, len(everything), _CHUNK):
        if not budget.left():
            return
        some = everything[start : start + _CHUNK]
        if not wanted.isdisjoint(map(id, gc.get_referents(*some))):
            yield from (one for one in some if not wanted.isdisjoint(map(id, gc.get_referents(one))))


class Local(NamedTuple):
    """A variable of a function: ``function`` is its name, ``name`` the variable's."""

    function: str
    name: str


def running_locals() -> Table:
    """Map ``id(value)`` to the ``Local`` that holds it, for every function now running in any thread.

    The garbage collector does not see these: since Python 3.11 a running frame is not an object yet.
    """
    found = Table()
    for frame in sys._current_frames().values():
        while frame is not None:
            ours = frame.f_code.co_filename.startswith(_PACKAGE)
            if not ours and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
                for name, identity in local_ids(frame):
                    found.setdefault(identity, Local(frame.f_code.co_name, name))
            frame = frame.f_back
    return found


def local_ids(frame) -> list[tuple[str, int]]:
    """Return ``(name, id(value))`` of a function's variables.

    Up to Python 3.12 reading ``f_locals`` leaves a dict on the frame that keeps the values alive; it is
    emptied again unless somebody else (a call of ``locals()``) uses the same dict.
    """
    values = frame.f_locals
    pairs = [(name, id(value)) for name, value in values.items()]
    only_the_frame_and_we = 3  # the frame, `values`, and the argument of getrefcount
    is_a_copy = isinstance(values, dict) and frame.f_code.co_flags & inspect.CO_OPTIMIZED
    if is_a_copy and sys.getrefcount(values) <= only_the_frame_and_we:
        values.clear()
    return pairs
