"""Are the results what they were before the fix?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

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
    element without dimensions are interchangeable, and so are lists and tuples; dtype and device are not compared.
    Two values are equal within ``atol + rtol * abs(expected)``; not-a-number equals itself.

    Raises
    ------
    CheckFailed
        "wrong results", with the place of the first difference, both values, and the largest difference.
    """
    difference = _first_difference(actual, expected, "", rtol, atol)
    if difference is None:
        return passed(f"{what} as expected", points)
    advice = "A function without `return` gives None" if actual is None else None
    path, wanted, got = difference
    place = f"{what} at {path}" if path else what
    raise failed("wrong results", f"{place}: expected {wanted}", f"got {got}", exercise, advice=advice)


def _first_difference(actual, expected, path: str, rtol: float, atol: float) -> _Difference | None:
    if isinstance(expected, Mapping):
        return _in_mapping(actual, expected, path, rtol, atol)
    if isinstance(expected, (list, tuple)):
        return _in_sequence(actual, expected, path, rtol, atol)
    if _is_numeric(expected):
        return _in_numbers(actual, expected, path, rtol, atol)
    if type(actual) is not type(expected) or actual != expected:
        return _Difference(path, _words(expected), _words(actual))
    return None


def _in_mapping(actual, expected, path, rtol, atol) -> _Difference | None:
    if not isinstance(actual, Mapping):
        return _Difference(path, _words(expected), _words(actual))
    if set(actual) != set(expected):
        return _Difference(path, f"keys {_list(expected)}", f"keys {_list(actual)}")
    found = (_first_difference(actual[key], expected[key], f"{path}[{key!r}]", rtol, atol) for key in expected)
    return next((difference for difference in found if difference), None)


def _in_sequence(actual, expected, path, rtol, atol) -> _Difference | None:
    if not isinstance(actual, (list, tuple)) or len(actual) != len(expected):
        return _Difference(path, _words(expected), _words(actual))
    pairs = enumerate(zip(actual, expected, strict=True))
    found = (_first_difference(mine, theirs, f"{path}[{index}]", rtol, atol) for index, (mine, theirs) in pairs)
    return next((difference for difference in found if difference), None)


def _in_numbers(actual, expected, path, rtol, atol) -> _Difference | None:
    if not _is_numeric(actual):
        return _Difference(path, _words(expected), _words(actual))
    mine, theirs = _on_host(actual), _on_host(expected)
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


def _is_numeric(value) -> bool:
    return isinstance(value, (int, float, complex, torch.Tensor)) or type(value).__module__ == "numpy"


def _on_host(value) -> torch.Tensor:
    tensor = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value, device="cpu")
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor.to(device="cpu").to(wide)


def _number(value: torch.Tensor) -> str:
    return f"{value.item():.6g}"


def _words(value) -> str:
    """Say what a value is: its kind and shape or length, and its text if that is short."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (list, tuple, Mapping)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"a {type(value).__name__}"


def _list(keys) -> str:
    return ", ".join(sorted(map(repr, keys)))
