"""Functions that Python tells no audit hook about, behind wrappers that do.

A wrapper does not hold what it stands for: the hook does, and calls it where the caller may.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import CodeType, ModuleType

from autograder.judge.sights import FRAMES, MEMORY, SIGNAL, Sight

GUARD = "autograder.judge.guard"
ANEW = "imported a module of Python's core anew"
"""Such a module would hold the functions without their wrappers."""
_GUARDED = (
    ("_signal", "signal", SIGNAL),
    ("_signal", "setitimer", SIGNAL),
    ("_signal", "alarm", SIGNAL),
    ("_signal", "raise_signal", SIGNAL),
    ("_imp", "create_builtin", ANEW),
    ("torch._C._dynamo.eval_frame", "set_eval_frame", FRAMES),
    ("torch._C._dynamo.eval_frame", "set_bytecode_debugger_callback", FRAMES),
    ("numpy.lib.stride_tricks", "as_strided", MEMORY),
    *(
        ("ctypes", name, MEMORY)
        for name in ("cast", "memmove", "memset", "string_at", "wstring_at", "POINTER", "pointer")
    ),
    *(("ctypes", name, MEMORY) for name in ("CFUNCTYPE", "PYFUNCTYPE", "_cast", "_string_at", "_wstring_at")),
)


def originals() -> tuple[tuple[CodeType, Callable, Sight], ...]:
    """Put the wrappers in place, wherever the functions are known by name; return what the hook needs for each."""
    for name in sys.builtin_module_names:
        importlib.import_module(name)
    return tuple(_guard(*entry) for entry in _GUARDED if _exists(*entry[:2]))


def _exists(module: str, name: str) -> bool:
    try:
        return callable(getattr(importlib.import_module(module), name, None))
    except ImportError:
        return False


def _guard(module: str, name: str, did: str) -> tuple[CodeType, Callable, Sight]:
    original = getattr(importlib.import_module(module), name)
    wrapper = _wrapper(original)
    names = frozenset() if did is ANEW else frozenset({name})
    for home in list(sys.modules.values()):
        if isinstance(home, ModuleType) and vars(home).get(name) is original:
            setattr(home, name, wrapper)
    return (
        wrapper.__code__,
        original,
        Sight(names, f"{did} ({module.removeprefix('_')}.{name})", everyday=did is MEMORY),
    )


def _wrapper(original: Callable) -> Callable:
    """Return a function with a code object of its own: by that the hook knows which one was called."""
    audit = sys.audit

    def guarded(*arguments, **named):
        box = [arguments, named]
        audit(GUARD, box)
        return box.pop()

    guarded.__code__ = guarded.__code__.replace()
    return guarded
