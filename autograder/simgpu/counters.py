"""What the ledger counts."""

from __future__ import annotations

from typing import NamedTuple


class Counters(NamedTuple):
    """allocated, reserved, peak: bytes now. The others: counts and bytes since the process started.

    h2d and d2h are copies from the host and to it, peer those from one simulated device to another.
    """

    allocated: int
    reserved: int
    peak: int
    allocations: int
    h2d_count: int
    h2d_bytes: int
    d2h_count: int
    d2h_bytes: int
    syncs: int
    peer_count: int = 0
    peer_bytes: int = 0
