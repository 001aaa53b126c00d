"""Many holders that differ only in a position become one: ``history[3]``, ``history[4]`` ... are ``history[3…10]``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

_POSITION = re.compile(r"\[(\d+)\]")


def merge_positions(holders: Iterable) -> list:
    """Return the holders, those of one container in one entry with the sum of their counts; order is kept.

    ``holders`` are named tuples with ``kind``, ``text`` and ``count``; a text with several positions stays as it is.
    """
    families = defaultdict(list)
    for holder in holders:
        positions = _POSITION.findall(holder.text)
        pattern = _POSITION.sub("[\0]", holder.text) if len(positions) == 1 else None
        families[(holder.kind, pattern or holder.text)].append((holder, int(positions[0]) if pattern else None))
    return [_one(pattern, members) for (_, pattern), members in families.items()]


def _one(pattern: str, members: list):
    first = members[0][0]
    if len(members) == 1:
        return first
    positions = [position for _, position in members]
    text = pattern.replace("\0", f"{min(positions)}…{max(positions)}")
    return first._replace(text=text, count=sum(holder.count for holder, _ in members))
