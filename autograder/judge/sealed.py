"""The parts of a seal: the names of a module or class, the insides of a function, an object, a table of hooks.

Each part has ``broken()``, which names what differs from when the part was made, and ``restore()``. The usual case,
nothing differs, is decided in C by comparing identities in order: thousands of names in a millisecond.
"""

from __future__ import annotations

import builtins
from itertools import chain
from operator import attrgetter, is_, methodcaller
from types import CodeType, FunctionType, ModuleType

import torch

PACKAGE = "autograder"

_FIXED_TYPES = (str, bytes, float, tuple, frozenset, torch.device, torch.dtype)
_MISSING = object()
_CLASS_NOISE = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "_abc_impl"}
_values_of, _bases_of = methodcaller("values"), attrgetter("__bases__")
_code_of, _defaults_of = attrgetter("__code__"), attrgetter("__defaults__")
_BUILTIN_NAMES = frozenset(vars(builtins))


class SealedNames:
    """The names of one module or class, and what kind of object it is.

    ``strict`` also watches constants; ``own`` holds the code of wrappers that may stand in for what was sealed.
    """

    def __init__(self, owner, label: str, strict: bool, own: frozenset[CodeType] = frozenset()) -> None:
        self.owner, self.label, self.strict, self.own = owner, label, strict, own
        self._space, self._kind = vars(owner), _kind(owner)
        self.before = dict(self._space)
        self._names, self._values = tuple(self.before), tuple(self.before.values())
        self._restores_state = strict and isinstance(owner, ModuleType)
        self.watched = {name: value for name, value in self.before.items() if self._matters(name, value)}

    def _matters(self, name: str, value) -> bool:
        is_class = isinstance(self.owner, type)
        if is_class and name in _CLASS_NOISE:
            return False
        if callable(value) or isinstance(value, (ModuleType, property, staticmethod, classmethod)):
            return True
        if is_class and isinstance(value, _FIXED_TYPES):
            return True
        return self.strict and (not name.islower() or isinstance(value, _FIXED_TYPES) or is_class)

    def _untouched(self) -> bool:
        space = self._space
        return (
            type(self.owner) is self._kind[0]
            and self._same_bases()
            and len(space) == len(self._names)
            and all(map(is_, space, self._names))
            and all(map(is_, space.values(), self._values))
        )

    def _same_bases(self) -> bool:
        return self._kind[1] is None or self.owner.__bases__ is self._kind[1]

    def broken(self) -> list[str]:
        if self._untouched():
            return []
        if type(self.owner) is not self._kind[0] or not self._same_bases():
            return [self.label]
        now = self._space
        changed = [
            name
            for name, value in self.watched.items()
            if not _same(now.get(name, _MISSING), value) and not self._is_own(now.get(name))
        ]
        added = now.keys() - self.before.keys() if len(now) != len(self.before) or changed else ()
        changed += [name for name in added if self._hides(name, now[name])]
        return [f"{self.label}.{name}" for name in changed]

    def _hides(self, name: str, value) -> bool:
        if self._is_own(value):
            return False
        if isinstance(self.owner, type):
            return name not in _CLASS_NOISE and any(name in vars(base) for base in self.owner.__mro__[1:])
        if self._kind[0] is not ModuleType:
            return callable(value)
        return name in _BUILTIN_NAMES and self.owner is not builtins and not name.startswith("__")

    def _is_own(self, value) -> bool:
        return isinstance(value, FunctionType) and value.__code__ in self.own

    def restore(self) -> None:
        if type(self.owner) is not self._kind[0]:
            object.__setattr__(self.owner, "__class__", self._kind[0])
        if not self._same_bases():
            self.owner.__bases__ = self._kind[1]
        if self._untouched():
            return
        now = self._space
        for name, value in (self.before if self._restores_state else self.watched).items():
            if now.get(name, _MISSING) is not value:
                setattr(self.owner, name, value)
        for name in [name for name in now if name not in self.before]:
            if self._is_own(now[name]) or self._hides(name, now[name]):
                delattr(self.owner, name)


class SealedGroup:
    """Names of many modules and classes that hardly ever change: one pass over all of them, unless one did."""

    def __init__(self, parts: list[SealedNames]) -> None:
        self._parts = parts
        self._spaces = [vars(part.owner) for part in parts]
        self._owners = [part.owner for part in parts]
        self._classes = [owner for owner in self._owners if isinstance(owner, type)]
        self._before = [list(aspect) for aspect in self._aspects()]

    def _aspects(self) -> tuple:
        """Everything watched, as iterators: the names, their values, what kinds of owners they have."""
        names = chain.from_iterable(self._spaces)
        values = chain.from_iterable(map(_values_of, self._spaces))
        return names, values, map(type, self._owners), map(_bases_of, self._classes)

    def broken(self) -> list[str]:
        same_sizes = sum(map(len, self._spaces)) == len(self._before[0])
        if same_sizes and all(all(map(is_, now, before)) for now, before in zip(self._aspects(), self._before)):
            return []
        return [name for part in self._parts for name in part.broken()]

    def restore(self) -> None:
        for part in self._parts:
            part.restore()


class SealedFunction:
    """The code, defaults and enclosed functions of one function."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self._code, self._defaults = function.__code__, function.__defaults__
        self._keywords = function.__kwdefaults__ and dict(function.__kwdefaults__)
        self._cells = [(cell, value) for cell in function.__closure__ or () if callable(value := _contents(cell))]

    @property
    def has_more(self) -> bool:
        """Is there anything to watch besides the code and the positional defaults?"""
        return bool(self._keywords or self._cells)

    def broken(self) -> list[str]:
        f = self.function
        intact = f.__code__ is self._code and f.__defaults__ is self._defaults and f.__kwdefaults__ == self._keywords
        if intact and all(_contents(cell) is value for cell, value in self._cells):
            return []
        return [f"{f.__module__}.{f.__qualname__}"]

    def restore(self) -> None:
        if self.broken():
            self.function.__code__, self.function.__defaults__ = self._code, self._defaults
            self.function.__kwdefaults__ = self._keywords and dict(self._keywords)
            for cell, value in self._cells:
                cell.cell_contents = value


class SealedFunctions:
    """Many functions at once."""

    def __init__(self, functions: list[FunctionType]) -> None:
        self._functions = functions
        self._codes, self._defaults = list(map(_code_of, functions)), list(map(_defaults_of, functions))
        self._parts = [SealedFunction(function) for function in functions]
        self._with_more = [part for part in self._parts if part.has_more]

    def broken(self) -> list[str]:
        codes, defaults = map(_code_of, self._functions), map(_defaults_of, self._functions)
        untouched = all(map(is_, codes, self._codes)) and all(map(is_, defaults, self._defaults))
        return [name for part in (self._with_more if untouched else self._parts) for name in part.broken()]

    def restore(self) -> None:
        if self.broken():
            for part in self._parts:
                part.restore()


class SealedObject:
    """A long-lived object of ours, such as the simulated GPU's ledger: no attribute may hide a method."""

    def __init__(self, label: str, thing) -> None:
        self.label, self.thing, self.kind = label, thing, type(thing)
        self.parts = {name: value for name, value in vars(thing).items() if is_ours(type(value))}
        self.callables = {name for name, value in vars(thing).items() if callable(value)}

    def _wrong(self) -> list[str]:
        now = vars(self.thing)
        hiding = [n for n, v in now.items() if n not in self.callables and callable(v) and hasattr(self.kind, n)]
        return hiding + [name for name, value in self.parts.items() if now.get(name) is not value]

    def broken(self) -> list[str]:
        if type(self.thing) is not self.kind:
            return [self.label]
        return [f"{self.label}.{name}" for name in self._wrong()]

    def restore(self) -> None:
        if type(self.thing) is not self.kind:
            object.__setattr__(self.thing, "__class__", self.kind)
        for name in self._wrong():
            if name in self.parts:
                setattr(self.thing, name, self.parts[name])
            else:
                delattr(self.thing, name)


class SealedHooks:
    """A table of hooks that torch calls for every module or optimizer."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self.module, self.name = module, name
        self.table = vars(module)[name]
        self.before = dict(self.table)

    def broken(self) -> list[str]:
        now = vars(self.module).get(self.name)
        if now is self.table and len(now) == len(self.before) and all(map(is_, now.values(), self.before.values())):
            return []
        return [f"{self.module.__name__}.{self.name}"]

    def restore(self) -> None:
        if self.broken():
            setattr(self.module, self.name, self.table)
            self.table.clear()
            self.table.update(self.before)


def is_ours(cls: type) -> bool:
    """Is this a class of this package?"""
    return str(getattr(cls, "__module__", "")).split(".")[0] == PACKAGE


def _kind(owner) -> tuple:
    return type(owner), owner.__bases__ if isinstance(owner, type) else None


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _same(now, before) -> bool:
    return now is before or (isinstance(before, _FIXED_TYPES) and type(now) is type(before) and now == before)
