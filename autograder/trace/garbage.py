"""Nothing dead may be counted: what a recording finds on the device when it begins.

A full collection walks every object of PyTorch, 0.2 s in a notebook, and is needed only if device memory may hang on
dead cycles. So a quick walk from the notebook's variables comes first: if it reaches everything that is allocated,
nothing of it is dead. Whatever it does not reach (a tensor that a graph saved, a variable of a function) decides for
the full collection.
"""

from __future__ import annotations

import gc
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
    to be recorded, from which the walk begins along with the variables of the learner's modules.
    """
    gc.collect(_YOUNG)
    allocated = addresses()
    if allocated is None or not _reaches(allocated, [step, *_learners_variables()]):
        gc.collect()


def _learners_variables() -> list[dict]:
    found, frame = {}, sys._getframe()
    while frame is not None:
        if is_learners_file(frame.f_code.co_filename):
            found[id(frame.f_globals)] = frame.f_globals
        frame = frame.f_back
    return list(found.values())


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
