"""torch.compile on the simulated GPU: no compiler writes kernels for this device, so everything runs eagerly.

PyTorch has a switch for that (``torch.compiler.set_stance("force_eager")``): what torch.compile returns is what it always
is, a module with ``_orig_mod`` or a function, and runs uncompiled. Here torch.compile turns the switch, once, and says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autograder.simgpu.standin import StandIn

NOT_COMPILED: list[str] = []
"""What torch.compile was asked to compile and left eager, by name."""
_SENTENCE = "torch.compile: there is no compiler for the simulated GPU, so this runs eagerly, with the memory of uncompiled code."


_OUR_HOOKS = r"Using `torch\.compile\(module\)` when there are global hooks"
"""A recording counts forward calls by such a hook, and nothing is compiled that could miss it."""
_told_elsewhere: list[bool] = []


@contextmanager
def without_a_sentence() -> Iterator[None]:
    """While the block lasts, torch.compile only notes what it left eager: a report will say so."""
    NOT_COMPILED.clear()
    _told_elsewhere.append(True)
    try:
        yield
    finally:
        _told_elsewhere.pop()


def install() -> None:
    """Put it in the place of torch.compile, which Module.compile and the decorator use as well."""
    torch.compile = StandIn(torch.compile, _run_eagerly(torch.compile))


def _run_eagerly(original):
    def compile(model=None, *, mode=None, options=None, backend="inductor", **others):
        if model is None:
            return lambda decorated: compile(decorated, mode=mode, options=options, backend=backend, **others)
        _note(model)
        torch.compiler.set_stance("force_eager")
        warnings.filterwarnings("ignore", _OUR_HOOKS, category=UserWarning)
        return original(model, backend="eager", **others)

    return compile


def _note(model) -> None:
    if not (_told_elsewhere or NOT_COMPILED):
        print(_SENTENCE)
    NOT_COMPILED.append(getattr(model, "__name__", type(model).__name__))
