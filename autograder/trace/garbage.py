"""Nothing dead may be counted: what a recording finds on the device when it begins.

A full collection walks every object of PyTorch, 0.2 s in a notebook, and is needed only if device memory may hang on
dead cycles. So a quick walk from the variables of the notebook and of its functions now running comes first: if it
reaches everything that is allocated, nothing of it is dead. Whatever it does not reach (a tensor that a graph saved)
decides for the full collection.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections import deque
from collections.abc import Callable
from types import CellType, FunctionType, MethodType

import torch

from autograder.trace.sites import is_learners_file

_YOUNG = 1
_MOST_OBJECTS = 10_000
"""Objects after which the walk gives up: a full collection would be as quick."""
_GROUPS = (list, tuple, set, frozenset, deque)
_WALKED_MODULES = ("__main__", "torch.nn", "torch.optim")


def collect(addresses: Callable[[], set[int] | None], step) -> None:
    """Collect garbage so that none of it holds device memory.

    ``addresses()`` returns those of the device's storages, None where they are not known; ``step`` is the function
    to be recorded, from which the walk begins along with the variables of the learner's modules and running functions.
    """
    gc.collect(_YOUNG)
    allocated = addresses()
    if allocated is None or not _reaches(allocated, [step, *_learners_variables()]):
        gc.collect()


def _learners_variables() -> list:
    """Return the globals of the learner's frames, and what their functions' variables hold."""
    modules, held, frame = {}, [], sys._getframe()
    while frame is not None:
        if is_learners_file(frame.f_code.co_filename):
            modules[id(frame.f_globals)] = frame.f_globals
            held.extend(_variables_of(frame))
        frame = frame.f_back
    return [*modules.values(), *held]


def _variables_of(frame) -> list:
    """Return the values of a running function's variables, and leave nothing behind that would keep them alive.

    Before Python 3.13 a frame keeps the dict that ``f_locals`` made (PEP 667), and with it a tensor that the
    function deletes later: so it is emptied again, unless the function itself uses it (``locals()``).
    """
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return []
    variables = frame.f_locals
    values = list(variables.values())
    only_the_frame_and_we = 3  # the frame, `variables`, and the argument of getrefcount
    if type(variables) is dict and sys.getrefcount(variables) <= only_the_frame_and_we:
        variables.clear()
    return values


def _reaches(addresses: set[int], roots: list) -> bool:
    """Whether every address is that of a tensor's storage found on a walk from the roots."""
    missing, seen, ahead = set(addresses), set(), deque(roots)
    while missing and ahead and len(seen) < _MOST_OBJECTS:
        thing = ahead.popleft()
        if id(thing) not in seen:
            seen.add(id(thing))
            if type(thing) in (torch.Tensor, torch.nn.Parameter):
                missing.discard(_address(thing))
            ahead.extend(_held_by(thing))
    return not missing


def _held_by(thing) -> list:
    kind = type(thing)
    if kind in (torch.Tensor, torch.nn.Parameter):
        return [thing.grad] if thing.is_leaf else []
    if issubclass(kind, dict):
        return [*dict.keys(thing), *dict.values(thing)]
    if kind in _GROUPS:
        return list(thing)
    if kind in (CellType, MethodType):
        return gc.get_referents(thing)
    if kind is FunctionType:
        return [*(thing.__closure__ or ()), thing.__defaults__, thing.__kwdefaults__]
    if str(kind.__module__).startswith(_WALKED_MODULES):
        return [getattr(thing, "__dict__", None)]
    return []


def _address(tensor: torch.Tensor) -> int | None:
    try:
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return None
