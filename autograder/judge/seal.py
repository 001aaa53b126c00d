"""Notice, name and undo whatever a notebook replaced in the modules that a verdict relies on.

``Seal()`` remembers the attributes of those modules and of their classes, and the code of their functions;
``broken()`` names what differs now; ``restore()`` puts everything back.

What counts as replaced: a function, class or module bound to another object; a constant (capitals in its name) of
this package, or a text, fraction, tuple or device of it that is no longer equal; a function given other code,
defaults or enclosed functions; a name added that hides a builtin; a method hidden by an attribute on one of this
package's own objects; another class given to a module; a hook for every module or optimizer.
Other lower-case data is state: it may change, and is quietly put back.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType

import numpy

from autograder.judge import sealed
from autograder.judge.sealed import (
    PACKAGE,
    SealedFunctions,
    SealedGroup,
    SealedHooks,
    SealedNames,
    SealedObject,
    is_ours,
)
from autograder.judge.trusted import OUTSIDE_CLASSES, load_trusted, outside_modules


class Seal:
    """A snapshot of everything trusted, taken before any of the learner's code runs."""

    def __init__(self, extra: Iterable[ModuleType] = (), rewrites: Callable[[], int] = lambda: 0) -> None:
        ours = load_trusted()
        outside, with_code = outside_modules()
        device_modules = [module for module in extra if isinstance(module, ModuleType)]
        functions = _functions([*ours, *with_code])
        own = _recorders_wrappers(functions)
        owned = [*ours, *device_modules, *(c for module in ours for c in _classes(module))]
        borrowed = [*outside, *(getattr(sys.modules[home], name) for home, name in OUTSIDE_CLASSES)]
        borrowed += [c for module in with_code for c in _classes(module)]
        spaces = {id(o): SealedNames(o, _label(o), isinstance(o, type) or o in ours, own) for o in owned}
        others = {id(o): SealedNames(o, _label(o), False, own) for o in borrowed if id(o) not in spaces}
        objects = [SealedObject(name, thing) for name, thing in _instances(ours)]
        self._codes = SealedFunctions(functions)
        self._rewrites, self._seen_rewrites = rewrites, rewrites()
        self._modules = {module.__name__: module for module in (*ours, *outside)}
        self._parts = (
            *spaces.values(),
            SealedGroup(list(others.values())),
            self._codes,
            *objects,
            *_hook_tables(outside),
        )
        self._parts_without_code = tuple(part for part in self._parts if part is not self._codes)
        self._builtins = tuple(vars(builtins).items())
        self._builtins_now = vars(builtins)
        self._sealers = (globals(), vars(sealed))

    def broken(self, thoroughly: bool = True) -> list[str]:
        """Name what differs from the snapshot, in words such as ```torch.cuda.memory_allocated` ``.

        Without ``thoroughly``, the code of functions is looked at only where Python said that some was rewritten.
        """
        found = self._broken_tools()
        if found:
            return found
        found = [name for name, module in self._modules.items() if sys.modules.get(name) is not module]
        for part in self._parts_to_see(thoroughly):
            found += part.broken()
        return list(dict.fromkeys(found))

    def _broken_tools(self) -> list[str]:
        """Look at the builtins first, without calling any: the rest of the seal is made of them."""
        found = []
        for name, value in self._builtins:
            if self._builtins_now.get(name) is not value and name != "_":
                found.append(f"builtins.{name}")
            if name[:2] != "__" and (name in self._sealers[0] or name in self._sealers[1]):
                found.append(f"{PACKAGE}.judge.{name}")
        return found

    def restore(self) -> None:
        """Put every snapshot back."""
        for name, value in self._builtins:
            self._builtins_now[name] = value
        sys.modules.update(self._modules)
        for part in self._parts_to_see(thoroughly=False):
            part.restore()
        self._seen_rewrites = self._rewrites()

    def _parts_to_see(self, thoroughly: bool) -> tuple:
        leave_out_code = not thoroughly and self._rewrites() == self._seen_rewrites
        return self._parts_without_code if leave_out_code else self._parts


def _label(owner) -> str:
    return f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__


def _classes(module: ModuleType) -> list[type]:
    return [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]


def _functions(modules: Iterable[ModuleType]) -> list[FunctionType]:
    found: dict[int, FunctionType] = {}
    for module in modules:
        for owner in (module, *_classes(module)):
            for value in vars(owner).values():
                for function in _functions_in(value):
                    if function.__module__ in (module.__name__, "numpy"):
                        found[id(function)] = function
    return list(found.values())


def _functions_in(value) -> list[FunctionType]:
    """A function, those of a property or method, and those that a decorator put a wrapper around."""
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset) if isinstance(f, FunctionType)]
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if type(value) is type(numpy.median):
        value = value.__wrapped__
    found = []
    while isinstance(value, FunctionType) and value not in found:
        found.append(value)
        value = vars(value).get("__wrapped__")
    return found


def _instances(modules: Iterable[ModuleType]) -> list[tuple[str, object]]:
    found: dict[int, tuple[str, object]] = {}
    for module in modules:
        for name, value in vars(module).items():
            _collect(f"{module.__name__}.{name}", value, found)
    return list(found.values())


def _collect(label: str, value, found: dict) -> None:
    if isinstance(value, type) or not is_ours(type(value)) or not hasattr(value, "__dict__") or id(value) in found:
        return
    found[id(value)] = (label, value)
    for name, part in vars(value).items():
        _collect(f"{label}.{name}", part, found)


def _hook_tables(modules: Iterable[ModuleType]) -> list[SealedHooks]:
    return [
        SealedHooks(module, name)
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("_global_") and isinstance(value, dict)
    ]


def _recorders_wrappers(functions: Iterable[FunctionType]) -> frozenset[CodeType]:
    """Return the code of wrappers that the recorder itself puts in place while it runs."""
    return frozenset(
        constant
        for function in functions
        if function.__module__.startswith(f"{PACKAGE}.trace.")
        for constant in function.__code__.co_consts
        if isinstance(constant, CodeType)
    )
