"""The learner's items, unchanged; each pull marks the end of one step and the start of the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Steps:
    """Looks like the items it was given: it can be iterated more than once, has their length and their entries.

    Only pulling items in a loop marks steps. Nothing here keeps an item alive while the loop works on it.
    """

    def __init__(self, recording, items: Iterable) -> None:
        self._recording = recording
        self._items = items

    def __iter__(self) -> Iterator:
        return _StepIterator(self._recording, iter(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]


class _StepIterator:
    """An iterator that holds no item, so that ``del x`` in the loop frees it as it would without a recording."""

    def __init__(self, recording, iterator: Iterator) -> None:
        self._recording = recording
        self._iterator = iterator

    def __iter__(self) -> _StepIterator:
        return self

    def __next__(self):
        recording = self._recording
        recording.end_step()
        recording.begin_step()
        try:
            return next(self._iterator)
        except StopIteration:
            recording.abandon_step()
            raise
