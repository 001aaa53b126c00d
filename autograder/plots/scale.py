"""Which unit an axis counts in, and how far it goes."""

from __future__ import annotations

from typing import NamedTuple

from autograder.units import GiB, KiB, MiB, human

_UNITS = (("GiB", GiB), ("MiB", MiB), ("KiB", KiB))
_OFF_SCALE = 5.0  # a curve this many times above the one that matters would squash it
_VISIBLE = 0.08  # part of the axis that a growth must fill to be seen
_BESIDE = 3.0  # growths that another curve may stand above this one and share a cut axis with it


class Unit(NamedTuple):
    """``name`` for the axis label, ``nbytes`` in one of it."""

    name: str
    nbytes: int


def unit_for(most: float) -> Unit:
    """Return the largest unit of which ``most`` bytes make at least one and a half; else bytes."""
    return next((Unit(name, nbytes) for name, nbytes in _UNITS if most >= 1.5 * nbytes), Unit("B", 1))


class Limits(NamedTuple):
    """The bytes at the bottom and at the top of an axis; ``cut`` is true when it does not start at zero."""

    bottom: float
    top: float

    @property
    def cut(self) -> bool:
        return self.bottom > 0

    def shows(self, values) -> bool:
        return min(values) <= self.top and max(values) >= self.bottom


def limits_for(allocated, others, grows: bool) -> Limits:
    """Return limits that show all of ``allocated`` and as many of the ``others`` as do not squash it.

    The axis starts at zero unless memory grows by so little of its level that the growth would not show.
    """
    low, high = min(allocated), max(allocated)
    top = max([high, *(max(values) for values in others if max(values) <= _OFF_SCALE * high)])
    if grows and high - low < _VISIBLE * top:
        growth = high - low
        near = [max(values) for values in others if max(values) <= high + _BESIDE * growth]
        return Limits(max(0.0, low - 0.6 * growth), max([high, *near]) + 0.6 * growth)
    return Limits(0.0, top * 1.08 or 1.0)


def curve_label(name: str, values, limits: Limits) -> str:
    """Return the legend's words for a curve, with its figure when the curve is outside the axis."""
    if limits.shows(values):
        return name
    side = "above" if min(values) > limits.top else "below"
    return f"{name}: {human(max(values))}, {side} this plot"
