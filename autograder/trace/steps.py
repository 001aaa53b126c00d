"""The learner's items, unchanged; each pull marks the end of one step and the start of the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def steps_over(recording, items: Iterable) -> Iterable:
    """Return something that can be used as ``items`` can: an iterator for one, with a length if they have one."""
    if isinstance(items, Iterator):
        return StepIterator(recording, items)
    return SizedSteps(recording, items) if hasattr(items, "__len__") else Steps(recording, items)


class StepIterator:
    """An iterator that holds no item, so that ``del x`` in the loop frees it as it would without a recording."""

    def __init__(self, recording, iterator: Iterator) -> None:
        self._recording = recording
        self._iterator = iterator

    def __iter__(self) -> StepIterator:
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


class Steps:
    """Items that can be gone through more than once; every pull of every pass is a step."""

    def __init__(self, recording, items: Iterable) -> None:
        self._recording = recording
        self._items = items

    def __iter__(self) -> StepIterator:
        return StepIterator(self._recording, iter(self._items))


class SizedSteps(Steps):
    """The same for items with a length; taking one by its index marks no step."""

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]
