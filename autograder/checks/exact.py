"""Values as they are, not as they say they are.

A subclass of ``list`` may lie in ``__iter__``, one of ``float`` in ``__float__``, one of ``Tensor`` in everything.
Here each value is read with the methods of the built-in type itself.
"""

from __future__ import annotations

import numpy
import torch

TENSORS = (torch.Tensor, torch.nn.Parameter)
"""The types of tensor that are read; a buffer is a plain ``Tensor``."""
_SCALARS = frozenset(numpy.sctypeDict.values())
_NUMBERS = "biufc"
"""Kinds of NumPy's dtypes that are numbers."""
_KEYS = (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device)
"""Types whose hash and equality are known to be honest."""


def exact(value):
    """Return a value as an instance of exactly the built-in type that holds it, one level deep.

    Lists (tuples, sets, dicts) become plain ones of the same items; subclasses of numbers and text become plain
    numbers and text; tensors lose gradient and instance attributes; NumPy's numbers become arrays without dimensions.
    Anything else is returned as it is.
    """
    kind = type(value)
    for base, read in _READ.items():
        if issubclass(kind, base):
            return read(value)
    if kind in TENSORS:
        with torch._C.DisableTorchFunction():
            return torch.Tensor.detach(value)
    if kind in _SCALARS:
        return numpy.asarray(value)
    return value


_READ = {
    list: lambda value: [*list.__iter__(value)],
    tuple: lambda value: (*tuple.__iter__(value),),
    set: lambda value: {*set.__iter__(value)},
    frozenset: lambda value: frozenset({*frozenset.__iter__(value)}),
    dict: lambda value: dict(dict.items(value)),
    str: str.__str__,
    bool: lambda value: value,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__pos__,
}


_IMITATED = (torch.Tensor, numpy.ndarray, numpy.generic)


def is_number(value) -> bool:
    """Whether an exact value is a number, a tensor, or an array of numbers."""
    return type(value) in (bool, int, float, complex, torch.Tensor) or is_array(value)


def is_array(value) -> bool:
    """Whether a value is a plain NumPy array of numbers."""
    return type(value) is numpy.ndarray and value.dtype.kind in _NUMBERS


def is_unreadable(value) -> bool:
    """Whether an exact value merely derives from a tensor or an array (it may answer anything), or is no numbers."""
    return type(value) is not torch.Tensor and not is_array(value) and issubclass(type(value), _IMITATED)


def same_keys(actual, expected) -> bool:
    """Whether two exact sets or dicts have the same keys; keys of unknown types must be the very same objects."""
    mine, theirs = ([exact(key) for key in keys] for keys in (actual, expected))
    known = {id(key) for key in theirs}
    return all(_is_honest(key) or id(key) in known for key in mine) and set(mine) == set(theirs)


def _is_honest(key) -> bool:
    return all(map(_is_honest, map(exact, key))) if type(key) is tuple else type(key) in _KEYS


def on_host(value) -> torch.Tensor:
    """Return a number, tensor or array as a tensor on the CPU, of ``float64`` or ``complex128``."""
    with torch._C.DisableTorchFunction():
        if is_array(value):
            value = value.astype(numpy.complex128 if value.dtype.kind == "c" else numpy.float64)
        elif type(value) is int:
            value = float(value)
        tensor = value if type(value) is torch.Tensor else torch.as_tensor(value, device="cpu")
        return tensor.to(device="cpu").to(torch.complex128 if tensor.is_complex() else torch.float64)
