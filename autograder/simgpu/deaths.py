"""How a storage's end is noticed: a weak reference puts itself into a queue, and the ledger empties the queue.

A storage may die in any thread, also inside the garbage collector. So usually no Python code runs then that an interrupt
could cut short; only where a history asks who frees, the reference's callback looks at the stack.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque

from autograder.simgpu import interrupts

DEATHS: deque = deque()
"""The references of storages that died, in that order."""


class Death(weakref.ref):
    """Tells of a storage's end, of the block that it leaves, and who let go of it if somebody asked (``stacks``)."""

    __slots__ = ("block", "stacks")


@interrupts.entered_undisturbed
def note_with_stack(
    death: Death, _note=DEATHS.append, _put_off=interrupts.kept.append, _here=threading.get_ident
) -> None:
    """Have a block given back, with the stack that freed it. Nothing that is raised here would reach anybody."""
    try:
        _note(death)
        ask = death.block.pool.allocator.stacks_at_free
        if ask is not None:
            death.stacks = ask()
    except BaseException as interruption:  # noqa: BLE001 - kept for the next operator
        interruption.__traceback__ = None
        _put_off((_here(), interruption))
