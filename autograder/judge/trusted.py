"""Which modules and classes a verdict relies on."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

import torch

from autograder.judge.sealed import PACKAGE

LOADED_WHOLE = ("checks", "diagnosis", "errors", "hints", "journal", "judge", "session", "trace", "units")
OUTSIDE = (
    *("builtins", "contextlib", "functools", "gc", "inspect", "itertools", "linecache", "math", "numpy", "operator"),
    *(
        "numpy._core.fromnumeric",
        "numpy._core._methods",
        "numpy.lib._function_base_impl",
        "numpy.lib._twodim_base_impl",
    ),
    *("signal", "statistics", "sys", "threading", "time", "traceback", "types", "weakref"),
    *("torch", "torch._C", "torch._C._nn", "torch._C._linalg", "torch._C._special", "torch._C._fft", "torch._VF"),
    *("torch._tensor", "torch.functional", "torch.overrides", "torch.storage", "torch._utils", "torch.cpu"),
    *("torch.cuda", "torch.cuda.memory", "torch.random", "torch.testing", "torch.utils._python_dispatch"),
)
FAMILIES = ("torch.nn", "torch.optim", "torch.autograd", "torch.utils.data", "torch.utils.checkpoint", "torch.amp")
"""With all their modules that are loaded, their classes, and the code of their functions."""
_OLD = (
    "torch.utils.data.datapipes",
    "torch.nn.intrinsic",
    "torch.nn.qat",
    "torch.nn.quantized",
    "torch.nn.quantizable",
)
_NO_CODE = {"builtins", "sys", "torch.cuda", "torch.testing"}
OUTSIDE_CLASSES = (
    ("torch", "Tensor"),
    ("torch", "UntypedStorage"),
    ("torch.utils._python_dispatch", "TorchDispatchMode"),
)


def load_trusted() -> list[ModuleType]:
    """Import what a verdict may run and return every module of this package that is loaded by then.

    The simulated GPU's modules can only be imported once its device exists: where a lesson uses it, its set-up
    cell has loaded them before the seal is taken. ``torch._dynamo`` is loaded first because its import, which torch
    puts off until an optimizer or ``manual_seed`` needs it, rebinds functions of torch. ``numpy.ma`` is loaded because
    the first median does.
    """
    importlib.import_module("torch._dynamo")
    importlib.import_module("numpy.ma")
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
    _settle_optimizers()
    names = sorted(name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}."))
    return [sys.modules[name] for name in names]


def outside_modules() -> tuple[list[ModuleType], list[ModuleType]]:
    """Return the modules of others that are relied on, and those of them whose functions' code is sealed as well."""
    named = [module for name in OUTSIDE if (module := _module(name)) is not None]
    family = [
        module
        for name, module in sorted(sys.modules.items())
        if isinstance(module, ModuleType) and _belongs(name, FAMILIES) and not _belongs(name, _OLD)
    ]
    return [*named, *family], [*(module for module in named if module.__name__ not in _NO_CODE), *family]


def _belongs(name: str, families: tuple[str, ...]) -> bool:
    return any(name == family or name.startswith(f"{family}.") for family in families)


def _module(name: str) -> ModuleType | None:
    """Import a module; None where this version of numpy or torch keeps its functions elsewhere."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _settle_optimizers() -> None:
    """Make one optimizer of each class: the first of a class wraps the class's ``step``."""
    for name in torch.optim.__all__:
        cls = getattr(torch.optim, name)
        if isinstance(cls, type) and cls is not torch.optim.Optimizer:
            try:
                cls([torch.nn.Parameter(torch.zeros(1, 1, device="cpu"))])
            except (TypeError, ValueError):
                continue
