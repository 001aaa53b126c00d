"""The namespace that checks run in: its names stay bound to what the instructor's cells put there.

Methods of the given classes are shared with the learner's cells, so that ``isinstance`` holds on both sides; through
their globals an answer can reach this namespace. Nothing here hides it: what is changed there is noticed and undone.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable
from operator import is_
from types import CodeType, FunctionType

from autograder.judge.sealed import SealedFunction, SealedNames

_WRITTEN_BY_PYTHON = {"__annotations__", "__warningregistry__", "__conditional_annotations__"}
_STORES_IN_GLOBALS = {"STORE_GLOBAL", "DELETE_GLOBAL"}
_STORES = {"STORE_NAME", "DELETE_NAME", *_STORES_IN_GLOBALS}


class Namespace:
    """A snapshot of a namespace's names and of the insides of its functions and classes.

    ``accept()`` takes what one statement of the instructor's has bound into the snapshot.
    """

    def __init__(self, space: dict, free: Iterable[str] = ()) -> None:
        self._space = space
        self._free = _WRITTEN_BY_PYTHON.union(free)
        self._before: dict = {}
        self._sealed: dict[int, tuple] = {}
        self.accept()

    def accept(self) -> None:
        """From now on, this is how the namespace should be."""
        self._before = dict(self._space)
        for name, value in self._before.items():
            if getattr(value, "__module__", None) == "__main__" and id(value) not in self._sealed:
                self._sealed[id(value)] = (value, _seals(name, value))

    def broken(self, binding: frozenset[str] = frozenset()) -> list[str]:
        """Name what was changed; names in ``binding`` are being bound by the instructor's own statement."""
        parts = [part for _, parts in self._sealed.values() for part in parts]
        found = [name.removeprefix("__main__.") for part in parts for name in part.broken()]
        return list(dict.fromkeys([*found, *(name for name in self._rebound() if name not in binding)]))

    def _rebound(self) -> list[str]:
        now, before = self._space, self._before
        if len(now) == len(before) and all(map(is_, now, before)) and all(map(is_, now.values(), before.values())):
            return []
        missing = object()
        names = {**before, **now}
        return [n for n in names if now.get(n, missing) is not before.get(n, missing) and n not in self._free]

    def restore(self) -> None:
        """Put names, functions and methods back."""
        for name in self._rebound():
            if name in self._before:
                self._space[name] = self._before[name]
            else:
                del self._space[name]
        for _, parts in self._sealed.values():
            for part in parts:
                part.restore()


def bound_by(code: CodeType, only_globals: bool = False) -> frozenset[str]:
    """Return the names that running ``code`` may bind in its namespace, functions with ``global`` included."""
    stores = _STORES_IN_GLOBALS if only_globals else _STORES
    found = {step.argval for step in dis.get_instructions(code) if step.opname in stores}
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(found.union(*(bound_by(inner, only_globals=True) for inner in nested)))


def read_inside(code: CodeType) -> frozenset[str]:
    """Return the global names that functions in ``code`` read."""
    found = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(found.union(*map(read_inside, nested)))


def _seals(name: str, value) -> list:
    if isinstance(value, FunctionType):
        return [SealedFunction(value)]
    if not isinstance(value, type):
        return []
    methods = [part for part in vars(value).values() if isinstance(part, FunctionType)]
    return [SealedNames(value, name, strict=False), *map(SealedFunction, methods)]
