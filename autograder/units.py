"""Bytes as people read them: binary units, one decimal, no false precision."""

from __future__ import annotations

KiB = 1 << 10
MiB = 1 << 20
GiB = 1 << 30


def human(nbytes: float) -> str:
    """Return a byte count in B, KiB, MiB or GiB.

    >>> human(512), human(1536), human(4 * MiB), human(-2048)
    ('512 B', '1.5 KiB', '4.0 MiB', '-2.0 KiB')
    """
    size = abs(nbytes)
    for unit, scale in (("GiB", GiB), ("MiB", MiB), ("KiB", KiB)):
        if size >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes:.0f} B"
