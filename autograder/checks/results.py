"""Are the results what they were before the fix?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy
import torch

from autograder.checks.exact import exact, is_array, is_number, is_unreadable, on_host, same_keys
from autograder.checks.verdict import failed, passed

_SHOWN = 80


class _Difference(NamedTuple):
    path: str
    expected: str
    got: str


def same(
    actual,
    expected,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    what: str = "results",
    exercise: str | None = None,
    points: float = 1,
) -> float:
    """Check that results equal a reference, wherever their tensors live.

    Compares tensors, numbers and other values inside nested lists, tuples and dicts. A number and a tensor of one
    element without dimensions are interchangeable, and so are lists and tuples, and a NumPy array and the lists of
    its numbers; dtype and device are not compared. Two values are equal within ``atol + rtol * abs(expected)``;
    not-a-number equals itself. Subclasses are read as the built-in type they derive from; a subclass of ``Tensor``
    other than ``Parameter``, or of NumPy's array, equals nothing.

    Raises
    ------
    CheckFailed
        "wrong results", with the place of the first difference, both values, and the largest difference.
    """
    with torch._C.DisableTorchFunction():
        difference = _first_difference(actual, expected, "", rtol, atol)
    if difference is None:
        return passed(f"{what} as expected", points)
    advice = "A function without `return` gives None" if actual is None else None
    path, wanted, got = difference
    place = f"{what} at {path}" if path else what
    raise failed("wrong results", f"{place}: expected {wanted}", f"got {got}", exercise, advice=advice)


def _first_difference(actual, expected, path: str, rtol: float, atol: float) -> _Difference | None:
    actual, expected = _as_lists(exact(actual), exact(expected))
    if is_unreadable(actual) or is_unreadable(expected):
        return _Difference(
            path, "plain tensors, arrays and numbers", _words(actual if is_unreadable(actual) else expected)
        )
    if type(expected) is dict:
        return _in_mapping(actual, expected, path, rtol, atol)
    if type(expected) in (list, tuple):
        return _in_sequence(actual, expected, path, rtol, atol)
    if is_number(expected):
        return _in_numbers(actual, expected, path, rtol, atol)
    if type(actual) is type(expected) and _equal(actual, expected):
        return None
    return _Difference(path, _words(expected), _words(actual))


def _as_lists(*values) -> tuple:
    """Return the values, arrays among them as nested lists if another one is a list or tuple."""
    lists = any(type(value) in (list, tuple) for value in values)
    return tuple(value.tolist() if lists and is_array(value) else value for value in values)


def _equal(actual, expected) -> bool:
    return same_keys(actual, expected) if type(expected) in (set, frozenset) else bool(expected == actual)


def _in_mapping(actual, expected, path, rtol, atol) -> _Difference | None:
    if type(actual) is not dict:
        return _Difference(path, _words(expected), _words(actual))
    if not same_keys(actual, expected):
        return _Difference(path, f"keys {_list(expected)}", f"keys {_list(actual)}")
    found = (_first_difference(actual[key], expected[key], f"{path}[{key!r}]", rtol, atol) for key in expected)
    return next((difference for difference in found if difference), None)


def _in_sequence(actual, expected, path, rtol, atol) -> _Difference | None:
    if type(actual) not in (list, tuple) or len(actual) != len(expected):
        return _Difference(path, _words(expected), _words(actual))
    pairs = enumerate(zip(actual, expected, strict=True))
    found = (_first_difference(mine, theirs, f"{path}[{index}]", rtol, atol) for index, (mine, theirs) in pairs)
    return next((difference for difference in found if difference), None)


def _in_numbers(actual, expected, path, rtol, atol) -> _Difference | None:
    if not is_number(actual):
        return _Difference(path, _words(expected), _words(actual))
    mine, theirs = on_host(actual), on_host(expected)
    if mine.shape != theirs.shape:
        return _Difference(path, _words(expected), _words(actual))
    close = torch.isclose(mine, theirs, rtol=rtol, atol=atol, equal_nan=True)
    if bool(close.all()):
        return None
    if not mine.dim():
        return _Difference(path, _number(theirs), f"{_number(mine)} (off by {_number((mine - theirs).abs())})")
    index = tuple((~close).nonzero()[0].tolist())
    most = _number((mine - theirs).abs().nan_to_num(nan=math.inf).max())
    wrong = int((~close).sum())
    return _Difference(
        f"{path}[{', '.join(map(str, index))}]",
        _number(theirs[index]),
        f"{_number(mine[index])} ({wrong} of {mine.numel()} values differ, by up to {most})",
    )


def _number(value: torch.Tensor) -> str:
    return f"{value.item():.6g}"


def _words(value) -> str:
    """Say what an exact value is: its kind and shape or length, and its text if that is short."""
    kind = type(value)
    if kind is numpy.ndarray and is_unreadable(value):
        return f"an array of {value.dtype}"
    if is_unreadable(value):
        return f"a {kind.__name__}, which only derives from {_base(kind).__name__}: convert it"
    if kind is torch.Tensor or is_array(value) and value.ndim:
        return f"{'a tensor' if kind is torch.Tensor else 'an array'} of shape {tuple(value.shape)}"
    if kind in (list, tuple, dict):
        return f"a {kind.__name__} of {len(value)}"
    text = str(value) if is_array(value) else repr(value)
    return text if len(text) <= _SHOWN else f"a {kind.__name__}"


def _base(kind: type) -> type:
    return next(base for base in kind.__mro__ if base.__module__ in ("torch", "numpy"))


def _list(keys) -> str:
    return ", ".join(sorted(map(repr, keys)))
