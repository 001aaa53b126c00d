"""Notice, name and undo whatever a notebook replaced in the modules that a verdict relies on.

``Seal()`` remembers the attributes of those modules and of their classes, and the code of their functions;
``broken()`` names what differs now; ``restore()`` puts everything back.

What counts as replaced: a function, class or module bound to another object; a constant (capitals in its name) of
this package, or a text, fraction, tuple or device of it that is no longer equal; a function given other code or
defaults; a name added that hides a builtin; a method hidden by an attribute on one of this package's own objects.
Other lower-case data is state: it may change, and is quietly put back.
"""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import sys
from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType

import torch

PACKAGE = "autograder"
LOADED_WHOLE = ("checks", "diagnosis", "errors", "hints", "judge", "session", "trace", "units")
OUTSIDE = (
    *("builtins", "contextlib", "functools", "gc", "inspect", "itertools", "linecache", "math", "numpy", "operator"),
    *("signal", "statistics", "sys", "threading", "time", "traceback", "types", "weakref"),
    *("torch", "torch._C", "torch.autograd", "torch.autograd.graph", "torch.cpu", "torch.cuda", "torch.cuda.memory"),
    *("torch.nn", "torch.nn.functional", "torch.random", "torch.testing", "torch.utils._python_dispatch"),
)
OUTSIDE_CLASSES = (
    ("torch", "Tensor"),
    ("torch", "UntypedStorage"),
    ("torch.nn", "Module"),
    ("torch.nn", "Parameter"),
    ("torch.utils._python_dispatch", "TorchDispatchMode"),
)

_FIXED_TYPES = (str, bytes, float, tuple, frozenset, torch.device, torch.dtype)
_MISSING = object()
_CLASS_NOISE = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "_abc_impl"}
_BUILTIN_NAMES = frozenset(vars(builtins))


def load_trusted() -> list[ModuleType]:
    """Import what a verdict may run and return every module of this package that is loaded by then.

    The simulated GPU's modules can only be imported once its device exists: where a lesson uses it, its set-up
    cell has loaded them before the seal is taken. ``torch._dynamo`` is loaded first because its import, which torch
    puts off until an optimizer or ``manual_seed`` needs it, rebinds functions of torch.
    """
    importlib.import_module("torch._dynamo")
    package = importlib.import_module(PACKAGE)
    for part in LOADED_WHOLE:
        try:
            module = importlib.import_module(f"{PACKAGE}.{part}")
        except ModuleNotFoundError as error:
            if error.name != f"{PACKAGE}.{part}":
                raise
            continue
        for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{module.__name__}."):
            importlib.import_module(found.name)
    for name, (home, _) in package._HOME.items():
        if home in sys.modules:
            getattr(package, name)
    names = sorted(name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}."))
    return [sys.modules[name] for name in names]


class Seal:
    """A snapshot of everything trusted, taken before any of the learner's code runs."""

    def __init__(self, extra: Iterable[ModuleType] = ()) -> None:
        ours = load_trusted()
        outside = [importlib.import_module(name) for name in OUTSIDE]
        device_modules = [module for module in extra if isinstance(module, ModuleType)]
        self._spaces: list[SealedNames] = []
        for module in {id(m): m for m in (*ours, *outside, *device_modules)}.values():
            self._spaces.append(SealedNames(module, module.__name__, strict=module in ours))
        owned = [c for module in ours for c in _classes(module)]
        borrowed = [getattr(sys.modules[home], name) for home, name in OUTSIDE_CLASSES]
        for cls in {id(c): c for c in (*owned, *borrowed)}.values():
            self._spaces.append(SealedNames(cls, f"{cls.__module__}.{cls.__qualname__}", strict=cls in owned))
        self._modules = {module.__name__: module for module in (*ours, *outside)}
        self._functions = [SealedFunction(f) for f in _functions(ours)]
        self._objects = [SealedObject(name, thing) for name, thing in _instances(ours)]
        self._recorders_own = _nested_codes(self._functions)

    def broken(self) -> list[str]:
        """Name what differs from the snapshot, in words such as ```torch.cuda.memory_allocated` ``."""
        found = [name for name, module in self._modules.items() if sys.modules.get(name) is not module]
        for part in (*self._spaces, *self._functions, *self._objects):
            found += part.broken(self._recorders_own)
        return list(dict.fromkeys(found))

    def restore(self) -> None:
        """Put every snapshot back."""
        sys.modules.update(self._modules)
        for part in (*self._spaces, *self._functions, *self._objects):
            part.restore()


class SealedNames:
    """The names of one module or class."""

    def __init__(self, owner, label: str, strict: bool) -> None:
        self.owner, self.label, self.strict = owner, label, strict
        self.before = dict(vars(owner))
        self._restores_state = strict and isinstance(owner, ModuleType)
        self.watched = {name: value for name, value in self.before.items() if self._matters(name, value)}

    def _matters(self, name: str, value) -> bool:
        if isinstance(self.owner, type) and name in _CLASS_NOISE:
            return False
        if callable(value) or isinstance(value, (ModuleType, property, staticmethod, classmethod)):
            return True
        return self.strict and (not name.islower() or isinstance(value, _FIXED_TYPES) or isinstance(self.owner, type))

    def broken(self, recorders_own: set[CodeType]) -> list[str]:
        now = vars(self.owner)
        changed = [
            name
            for name, value in self.watched.items()
            if not _same(now.get(name, _MISSING), value) and not _is_recorders(now.get(name), recorders_own)
        ]
        added = now.keys() - self.before.keys() if len(now) != len(self.before) or changed else ()
        changed += [name for name in added if self._hides(name, now[name], recorders_own)]
        return [f"{self.label}.{name}" for name in changed]

    def _hides(self, name: str, value, recorders_own: set[CodeType]) -> bool:
        if _is_recorders(value, recorders_own):
            return False
        if isinstance(self.owner, type):
            return name not in _CLASS_NOISE and any(name in vars(base) for base in self.owner.__mro__[1:])
        return name in _BUILTIN_NAMES and self.owner is not builtins and not name.startswith("__")

    def restore(self) -> None:
        now = vars(self.owner)
        for name, value in (self.before if self._restores_state else self.watched).items():
            if now.get(name, _MISSING) is not value:
                setattr(self.owner, name, value)
        for name in [name for name in now if name not in self.before and self._hides(name, now[name], set())]:
            delattr(self.owner, name)


class SealedFunction:
    """The code, defaults and closure of one function of ours."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.before = self._parts()

    def _parts(self) -> tuple:
        f = self.function
        keywords = f.__kwdefaults__
        return f.__code__, f.__defaults__, keywords and tuple(keywords.items())

    def broken(self, _recorders_own: set[CodeType]) -> list[str]:
        now = self._parts()
        if now[0] is self.before[0] and now[1] is self.before[1] and now[2] == self.before[2]:
            return []
        return [f"{self.function.__module__}.{self.function.__qualname__}"]

    def restore(self) -> None:
        if self.broken(set()):
            code, defaults, keywords = self.before
            self.function.__code__, self.function.__defaults__ = code, defaults
            self.function.__kwdefaults__ = dict(keywords) if keywords is not None else None


class SealedObject:
    """A long-lived object of ours, such as the simulated GPU's ledger: no attribute may hide a method."""

    def __init__(self, label: str, thing) -> None:
        self.label, self.thing = label, thing
        self.parts = {name: value for name, value in vars(thing).items() if _is_ours(type(value))}
        self.callables = {name for name, value in vars(thing).items() if callable(value)}

    def _wrong(self) -> list[str]:
        now = vars(self.thing)
        hiding = [n for n, v in now.items() if n not in self.callables and callable(v) and hasattr(type(self.thing), n)]
        return hiding + [name for name, value in self.parts.items() if now.get(name) is not value]

    def broken(self, _recorders_own: set[CodeType]) -> list[str]:
        return [f"{self.label}.{name}" for name in self._wrong()]

    def restore(self) -> None:
        for name in self._wrong():
            if name in self.parts:
                setattr(self.thing, name, self.parts[name])
            else:
                delattr(self.thing, name)


def _same(now, before) -> bool:
    return now is before or (isinstance(before, _FIXED_TYPES) and type(now) is type(before) and now == before)


def _is_ours(cls: type) -> bool:
    return str(getattr(cls, "__module__", "")).split(".")[0] == PACKAGE


def _classes(module: ModuleType) -> list[type]:
    return [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]


def _functions(modules: Iterable[ModuleType]) -> list[FunctionType]:
    found: dict[int, FunctionType] = {}
    for module in modules:
        for owner in (module, *_classes(module)):
            for value in vars(owner).values():
                for function in _functions_in(value):
                    if function.__module__ == module.__name__:
                        found[id(function)] = function
    return list(found.values())


def _functions_in(value) -> list[FunctionType]:
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset) if isinstance(f, FunctionType)]
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if not isinstance(value, FunctionType):
        return []
    inner = vars(value).get("__wrapped__")
    return [value, inner] if isinstance(inner, FunctionType) else [value]


def _instances(modules: Iterable[ModuleType]) -> list[tuple[str, object]]:
    found: dict[int, tuple[str, object]] = {}
    for module in modules:
        for name, value in vars(module).items():
            _collect(f"{module.__name__}.{name}", value, found)
    return list(found.values())


def _collect(label: str, value, found: dict) -> None:
    if isinstance(value, type) or not _is_ours(type(value)) or not hasattr(value, "__dict__") or id(value) in found:
        return
    found[id(value)] = (label, value)
    for name, part in vars(value).items():
        _collect(f"{label}.{name}", part, found)


def _nested_codes(functions: Iterable[SealedFunction]) -> set[CodeType]:
    """Return the code of wrappers that the recorder itself puts in place while it runs."""
    meters = f"{PACKAGE}.trace."
    return {
        constant
        for part in functions
        if part.function.__module__.startswith(meters)
        for constant in part.function.__code__.co_consts
        if isinstance(constant, CodeType)
    }


def _is_recorders(value, recorders_own: set[CodeType]) -> bool:
    return isinstance(value, FunctionType) and value.__code__ in recorders_own
