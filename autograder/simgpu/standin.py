"""Functions that stand in the place of torch's own, as hard to tell from them as Python allows.

Libraries look at torch's functions, not only call them: as keys of a table that answers ``__torch_function__``, by
``torch.jit``, ``pickle`` and ``inspect``. A stand-in equals its original and has its hash, so that a table made before or
after finds it; hands itself to ``__torch_function__``, as torch does with its functions; is a builtin to
``torch.jit`` where the original is one; pickles by name; and has the signature of the original, or none like it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable

from torch.overrides import handle_torch_function, has_torch_function

from autograder.simgpu import compat


class StandIn:
    """A callable in the place of ``original``, a function of torch.

    Parameters
    ----------
    original : callable
        What stood there; kept as ``__wrapped__``.
    call : callable
        What happens instead; it takes the same arguments.
    overridable : bool
        Whether ``original`` offers itself to ``__torch_function__`` of its arguments (torch's operators do).
    """

    def __init__(self, original: Callable, call: Callable, overridable: bool = False):
        functools.update_wrapper(self, original)
        self._call = call
        self._overridable = overridable

    def __call__(self, *args, **kwargs):
        if self._overridable:
            relevant = (*args, *kwargs.values()) if kwargs else args
            if has_torch_function(relevant):
                return handle_torch_function(self, relevant, *args, **kwargs)
        return self._call(*args, **kwargs)

    def __get__(self, instance, owner=None):
        return self if instance is None else types.MethodType(self, instance)

    def __eq__(self, other):
        return self is other or original_of(self) is original_of(other)

    def __hash__(self) -> int:
        return hash(original_of(self))

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce__(self):
        return (
            original_of(self).__reduce__()
            if isinstance(original_of(self), types.BuiltinFunctionType)
            else self.__name__
        )


def original_of(function):
    """The function of torch behind however many stand-ins; any other object itself."""
    while isinstance(function, StandIn):
        function = function.__wrapped__
    return function


def in_place_of_operator(original: Callable, call: Callable) -> StandIn:
    """A stand-in for one of torch's operators, such as torch.zeros: ``torch.jit`` compiles it as the operator."""
    stand_in = StandIn(original, call, overridable=True)
    compat.name_for_jit(stand_in, original_of(original))
    return stand_in
