"""When a running script is looked at, and how long all looks may take together."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_LOOK = 8
SHARE = 0.1
"""The part of the script's own time that looks may take, all together."""
LEAST_SECONDS = 1.0
"""What they may take in a run of any length: a short one is looked at as well."""
MOST_SECONDS = 20.0


class Looks:
    """The schedule: after 8 steps, 16, 32 and so on, or as soon after that as the time for it is there.

    The first look is taken whenever it is due. Any other waits until it can be as long as the last one was.

    Attributes
    ----------
    seconds : float
        What all looks took so far.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.seconds = 0.0
        self._clock = clock
        self._began = clock()
        self._next = FIRST_LOOK
        self._last = 0.0

    def due(self, steps: int) -> float:
        """Seconds that a look may take now, after so many steps; 0 if none is due."""
        if steps < self._next:
            return 0.0
        own = self._clock() - self._began - self.seconds
        left = max(LEAST_SECONDS, SHARE * own) - self.seconds
        return min(left, MOST_SECONDS) if left > 0 and left >= self._last else 0.0

    def taken(self, steps: int, look: Callable[[], object]):
        """Take a look, and note how long it was; returns what it found."""
        began = self._clock()
        try:
            return look()
        finally:
            self._last = self._clock() - began
            self.seconds += self._last
            self._next = 2 * steps
