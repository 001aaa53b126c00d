"""Which stream is current in this thread, also while backward runs: that on which the forward of a node ran.

CUDA's engine runs each node on the stream that was current when the node was made, and lets streams wait for each other
where gradients pass from one to the other (Node::stream in torch/csrc/autograd/function.h, Engine::evaluate_function in
engine.cpp; notes/cuda.rst, "Stream semantics of backward passes"). A device written in Python is asked for neither. But
nodes are numbered in the order in which a thread makes them, so it is enough to note, when a stream is chosen, which number
comes next.
"""

from __future__ import annotations

import threading
from bisect import bisect_right

from autograder.simgpu import compat
from autograder.simgpu.allocator import stream_key
from autograder.simgpu.ledger import LEDGER

_MOST_NOTED = 20_000
_ANY_TIME = 1 << 63  # an AccumulateGrad has the highest number of all: it runs on the caller's stream


class Choices(threading.local):
    """The numbers of the streams chosen in this thread, by device; 0 is the default stream."""

    def __init__(self) -> None:
        self._chosen: dict[int, int] = {}
        self._since: list[int] = []
        self._earlier: list[dict[int, int]] = []
        self._inside: tuple[int, dict[int, int]] = (-1, {})

    def choose(self, index: int, number: int) -> None:
        """Make a stream the device's current one; inside a backward node, until the node ends."""
        node = compat.current_autograd_node()
        if node is not None:
            number_of_node = node._sequence_nr()
            if self._inside[0] != number_of_node:
                self._inside = number_of_node, {}
            self._inside[1][index] = number
            return
        self._chosen = {**self._chosen, index: number}
        self._since.append(compat.next_sequence_number())
        self._earlier.append(self._chosen)
        if len(self._since) > _MOST_NOTED:
            del self._since[: _MOST_NOTED // 2], self._earlier[: _MOST_NOTED // 2]

    def now(self, index: int) -> int:
        """Number of the device's current stream."""
        chosen = self._chosen.get(index, 0)
        node = compat.current_autograd_node()
        if node is None:
            return chosen
        number_of_node = node._sequence_nr()
        inside = self._inside[1].get(index) if self._inside[0] == number_of_node else None
        if inside is not None:
            return inside
        if number_of_node >= _ANY_TIME:
            return chosen
        noted = bisect_right(self._since, number_of_node) - 1
        number = self._earlier[noted].get(index, 0) if noted >= 0 else 0
        if number != chosen:
            _wait_for_each_other(stream_key(index, chosen), stream_key(index, number))
        return number


def _wait_for_each_other(first: int, second: int) -> None:
    LEDGER.timeline.wait(second, LEDGER.timeline.mark(first))
    LEDGER.timeline.wait(first, LEDGER.timeline.mark(second))


CHOICES = Choices()
