"""Compares the simulated GPU's books with the device storages that are really alive.

The count does not ask the ledger: it walks the garbage collector's objects, where every device storage with memory
is found as long as anything, a graph in C++ included, keeps it alive.
"""

from __future__ import annotations

import gc
import sys

import torch

from autograder.errors import Tampered
from autograder.units import human


class Books:
    """What is wrong with the books already, left by an earlier trial in this process, is not held against this one."""

    def __init__(self) -> None:
        self._forgotten, self._difference = _state(_ledger())

    def check(self) -> None:
        """Raise ``Tampered`` where a live storage has lost its block, or where the sums differ."""
        forgotten, difference = _state(_ledger())
        lost = [nbytes for number, nbytes in forgotten.items() if number not in self._forgotten]
        if lost:
            raise Tampered(
                "tampered", limit=f"a live tensor of {human(lost[0])} must be in the books", actual="it is not"
            )
        if difference != self._difference:
            more = difference - self._difference
            raise Tampered(
                "tampered",
                limit="the device's books must agree with the tensors that live",
                actual=f"they say {human(abs(more))} {'less' if more > 0 else 'more'}",
            )


def _ledger():
    """The simulated GPU's ledger, or None where there is no simulated GPU."""
    module = sys.modules.get("autograder.simgpu.ledger")
    return module.LEDGER if module is not None else None


def _state(ledger) -> tuple[dict[int, int], int]:
    """Return the sizes of live storages without a block, by id, and how much more lives than the books say."""
    if ledger is None:
        return {}, 0
    ledger.drain()
    forgotten, held = {}, {}
    for storage in _alive(ledger):
        block = getattr(vars(storage).get("_simgpu_record"), "block", None)
        if block is None or block.size < storage.nbytes() or not _is_enrolled(ledger, block, storage):
            forgotten[id(storage)] = storage.nbytes()
        else:
            held[id(block)] = block.size
    return forgotten, sum(held.values()) - ledger.counters().allocated


def _alive(ledger) -> list[torch.UntypedStorage]:
    """The device storages with memory: those that the collector sees, and those that were put out of its sight."""
    kind = torch.UntypedStorage
    found = {id(o): o for o in gc.get_objects() if type(o) is kind}
    for reference in list(ledger._live.values()):
        storage = reference()
        if storage is not None:
            found[id(storage)] = storage
    return [s for s in found.values() if s.device.type == "simgpu" and s.nbytes() > 0]


def _is_enrolled(ledger, block, storage) -> bool:
    reference = ledger._live.get(block.address)
    return reference is not None and reference() is storage
