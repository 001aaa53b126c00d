"""A curve in one line of text."""

from __future__ import annotations

import numpy as np

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"
_VISIBLE = 0.001


def sparkline(values, width: int, draw: bool = True) -> str:
    """Return the values as at most ``width`` characters, each of which shows the highest it stands for.

    The lowest character is the lowest value, unless all lie within 0.1 % of the highest: then it is zero, so that what
    hardly moves looks level.

    >>> sparkline([0, 1, 2, 4], 60), sparkline([5000, 5001], 60), sparkline([500, 600], 60, draw=False)
    ('▁▃▅█', '██', '_#')
    """
    marks = BLOCKS if draw else ASCII
    values = np.asarray(values, dtype=float)
    top, bottom = values.max(), values.min()
    if top - bottom <= _VISIBLE * top:
        bottom = 0.0
    scale = (len(marks) - 1) / max(top - bottom, 1.0)
    parts = np.array_split(values, min(width, len(values)))
    return "".join(marks[round((part.max() - bottom) * scale)] for part in parts)
