"""Colours and line styles: told apart in print, in grey, and by colour-blind eyes.

Colours: M. Okabe and K. Ito, "Color Universal Design" (2008). No two lines differ by colour alone.
"""

from __future__ import annotations

BLUE, SKY, GREEN, VERMILLION, PURPLE, GREY = "#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#6E6E6E"

ALLOCATED = {"color": BLUE, "linestyle": "-", "marker": "o", "markersize": 3.5, "linewidth": 2, "zorder": 4}
PEAK = {"color": VERMILLION, "linestyle": ":", "marker": "^", "markersize": 3.5, "linewidth": 1.5, "zorder": 3}
RESERVED = {"color": SKY, "linestyle": (0, (5, 1)), "linewidth": 1.5, "drawstyle": "steps-mid"}
PREDICTED = {"color": PURPLE, "linestyle": "--", "linewidth": 2.5, "zorder": 5}
BEFORE = {"color": VERMILLION, "linestyle": "-", "marker": "s", "markersize": 4, "linewidth": 2}
AFTER = {"color": BLUE, "linestyle": "-", "marker": "o", "markersize": 4, "linewidth": 2}
"""``before`` and ``after`` differ by marker too."""
THIRD = {"color": GREEN, "linestyle": (0, (4, 1)), "marker": "^", "markersize": 4, "linewidth": 2}
STEMS = ({"color": VERMILLION, "marker": "s", "markersize": 5}, {"color": BLUE, "marker": "o", "markersize": 4.5})
"""The same pair for counts: a mark on a stem for each step."""

THIN = {"linewidth": 1.2, "marker": "", "linestyle": ":"}
STAIRS = {"linewidth": 1.2, "marker": "", "linestyle": (0, (5, 1)), "drawstyle": "steps-mid"}
WARMUP = {"color": GREY, "alpha": 0.16, "linewidth": 0}

IN_USE = {"facecolor": BLUE, "edgecolor": "white", "linewidth": 0.5}
PENDING = {"facecolor": "#E69F00", "edgecolor": "white", "linewidth": 0.5, "hatch": ".."}
FREE = {"facecolor": "#F2F2F2", "edgecolor": "#A8A8A8", "linewidth": 0.5, "hatch": "////"}
