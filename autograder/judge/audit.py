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


def books() -> None:
    """Raise ``Tampered`` where a live storage has no block, or where the sums differ. Needs no simulated GPU."""
    ledger_module = sys.modules.get("autograder.simgpu.ledger")
    if ledger_module is None:
        return
    ledger = ledger_module.LEDGER
    ledger.drain()
    storages = _alive(ledger)
    held = {}
    for storage in storages:
        record = vars(storage).get("_simgpu_record")
        block = getattr(record, "block", None)
        if block is None or block.size < storage.nbytes() or not _is_enrolled(ledger, block, storage):
            raise _differs(f"a live tensor of {human(storage.nbytes())} must be in the books", "it is not")
        held[id(block)] = block.size
    alive, counted = sum(held.values()), ledger.counters().allocated
    if alive != counted:
        raise _differs(f"live tensors take {human(alive)}", f"the books say {human(counted)}")


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


def _differs(limit: str, actual: str) -> Tampered:
    return Tampered("tampered", limit=limit, actual=actual)
