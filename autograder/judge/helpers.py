"""The given functions and classes of one lesson: kept from being changed by an answer."""

from __future__ import annotations

from types import FunctionType

from autograder.judge.seal import SealedFunction, SealedNames


class Helpers:
    """Seals the code of given functions and the methods of given classes.

    With a ``namespace``, the names themselves must also stay bound to the same objects there.
    """

    def __init__(self, given: dict, namespace: dict | None = None) -> None:
        self._given = {name: value for name, value in given.items() if not name.startswith("__")}
        self._namespace = namespace
        self._sealed = []
        for name, value in self._given.items():
            if getattr(value, "__module__", None) != "__main__":
                continue
            if isinstance(value, type):
                self._sealed.append(SealedNames(value, name, strict=False))
                self._sealed += [SealedFunction(f) for f in vars(value).values() if isinstance(f, FunctionType)]
            elif isinstance(value, FunctionType):
                self._sealed.append(SealedFunction(value))

    def broken(self) -> list[str]:
        """Name what an answer changed."""
        found = [name.removeprefix("__main__.") for part in self._sealed for name in part.broken(set())]
        if self._namespace is not None:
            found += [name for name, value in self._given.items() if self._namespace.get(name) is not value]
        return list(dict.fromkeys(found))

    def restore(self) -> None:
        """Put functions and methods back."""
        for part in self._sealed:
            part.restore()
