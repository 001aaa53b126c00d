"""Wrap a function for the time of a recording, and put the original back."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps


def call_before(owner, name: str, before: Callable[..., None]) -> Callable[[], None]:
    """Call ``before`` with the same arguments whenever ``owner.name`` is called; return the function that undoes it."""
    original = getattr(owner, name)
    was_own = name in vars(owner)

    @wraps(original)
    def wrapped(*args, **kwargs):
        before(*args, **kwargs)
        return original(*args, **kwargs)

    def undo() -> None:
        if was_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)

    setattr(owner, name, wrapped)
    return undo
