"""From the words of a prediction to a shape, and from a trace to the same shapes."""

from __future__ import annotations

import re

import numpy as np

from autograder.units import KiB, MiB

_FASTER = re.compile(r"faster|quadrat|accelerat|squar|exponent|explod|more and more", re.IGNORECASE)
_NOT_UP = re.compile(r"(not|n't|never|no|without)\s+(grow|rise|increase|leak)", re.IGNORECASE)
_UP = re.compile(r"grow|rise|rising|increase|climb|leak|go(es)? up", re.IGNORECASE)
_DOWN = re.compile(r"fall|shrink|drop|decrease|go(es)? down", re.IGNORECASE)
_FLAT = re.compile(r"flat|stay|same|constant|unchanged|level|nothing", re.IGNORECASE)
_AMOUNTS = (  # words, and the growth in bytes over a whole recording that they may mean
    (re.compile(r"\b(megabytes?|MB|MiB)\b", re.IGNORECASE), 512 * KiB, 512 * MiB),
    (re.compile(r"\b(kilobytes?|KB|KiB)\b", re.IGNORECASE), KiB, 1024 * KiB),
    (re.compile(r"\bbytes?\b", re.IGNORECASE), 1, 4 * KiB),
)
_BEND = 1.5  # the second half's growth over the first half's, above which a line is called bent


def shape_of(words: str) -> str | None:
    """Return "flat", "grows", "accelerates" or "falls", or None where the words say none of these."""
    if _NOT_UP.search(words):
        return "flat"
    if _FASTER.search(words):
        return "accelerates"
    for pattern, shape in ((_UP, "grows"), (_DOWN, "falls"), (_FLAT, "flat")):
        if pattern.search(words):
            return shape
    return None


def measured_shape(trace) -> str:
    """Return which of the four shapes the steady steps of a trace have."""
    if abs(trace.slope) < 1:
        return "flat"
    if trace.slope < 0:
        return "falls"
    gains = np.diff([sample.allocated for sample in trace.steady])
    half = len(gains) // 2
    if half and gains[-half:].mean() > _BEND * max(gains[:half].mean(), 1):
        return "accelerates"
    return "grows"


def fits(words: str, trace) -> bool:
    """Whether a choice in these words describes the trace: its shape, and the amount if one is named."""
    if shape_of(words) != measured_shape(trace):
        return False
    amount = _amount(words)
    return amount is None or amount[0] <= _steady_growth(trace) < amount[1]


def is_right(prediction, trace) -> bool | None:
    """Return whether the choice is right; None where the choices do not settle it."""
    fitting = [choice for choice in prediction.choices if fits(choice, trace)]
    if prediction.choice in fitting:
        return True if len(fitting) == 1 else None
    return False if fitting or shape_of(prediction.choice) else None


def verdict_words(prediction, trace) -> str:
    """Say what was predicted and, where that is settled, whether it was right."""
    verdict = {True: ": right.", False: ": not so.", None: "."}[is_right(prediction, trace)]
    return f'You predicted "{prediction.choice}"{verdict}'


def outcome_words(prediction, outcome: str) -> str:
    """Say what was predicted, where anything was, and the choice that came true."""
    if prediction is None:
        return f"Measured: {outcome}."
    right = prediction.choice == outcome
    return f'You predicted "{prediction.choice}"' + (": right." if right else f". Measured: {outcome}.")


def predicted_values(prediction, trace) -> list[float] | None:
    """Return the predicted curve in bytes from the last warm-up step on; None where the words give no shape."""
    shape = shape_of(prediction.choice)
    steps = len(trace.steady)
    if shape is None or not steps:
        return None
    start = trace.samples[max(0, trace.warmup - 1)].allocated
    way = np.linspace(0, 1, steps + (1 if trace.warmup else 0))
    rise = {"flat": 0 * way, "grows": way, "accelerates": way**2, "falls": -way}[shape]
    return list(start + rise * _size_of_rise(prediction.choice, shape, start, trace))


def _size_of_rise(words: str, shape: str, start: float, trace) -> float:
    """Take the measured growth where it fits the words, else one that is plain to see."""
    growth = abs(_steady_growth(trace))
    amount = _amount(words)
    if amount is not None and not amount[0] <= growth < amount[1]:
        return 4 * amount[0]
    if shape == "falls":
        return start / 2
    return growth if growth >= 1 else max(start, trace.samples[-1].peak) / 2


def _steady_growth(trace) -> float:
    return trace.slope * len(trace.steady)


def _amount(words: str) -> tuple[int, int] | None:
    return next(((low, high) for pattern, low, high in _AMOUNTS if pattern.search(words)), None)
