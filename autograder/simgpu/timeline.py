"""What the host knows of each stream's progress.

Work on a stream is issued now and finishes later; a program learns that it has finished by waiting or by asking. The
simulated GPU computes at once, so only this knowledge matters, and it is kept exactly: a mark (an event recorded on a
stream) has finished once the host waited for it, for something after it on the same stream, or for a stream that was
told to wait for it. Nothing finishes by time passing, so a program behaves alike on every run; a real GPU may be done
earlier. Order within a stream, events and waits between streams: CUDA C++ Programming Guide, "Asynchronous Concurrent
Execution" (streams of PyTorch's pool do not wait for the default stream: c10/cuda/CUDAStream.cpp, kDefaultFlags).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Mark(NamedTuple):
    """A place in a stream's work: its stream, its number there, and what else must be done before it."""

    stream: int
    number: int
    after: dict[int, int]


class Timeline:
    """Marks on streams, the waits between them, and which marks are known to have finished.

    A stream is any integer; those of different devices must differ.
    """

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._after: dict[int, dict[int, int]] = {}
        self._finished: dict[int, int] = {}

    def mark(self, stream: int) -> Mark:
        """Record an event: the place in the stream reached now (cudaEventRecord)."""
        number = self._last[stream] = self._last.get(stream, 0) + 1
        return Mark(stream, number, dict(self._after.get(stream, ())))

    def wait(self, stream: int, mark: Mark) -> None:
        """Let what is issued to a stream from now on begin after the mark (cudaStreamWaitEvent)."""
        if stream != mark.stream:
            _raise(self._after.setdefault(stream, {}), mark)

    def has_finished(self, mark: Mark) -> bool:
        """Whether the host knows that the mark was reached."""
        return self._finished.get(mark.stream, 0) >= mark.number

    def finish(self, mark: Mark) -> None:
        """The host waited for the mark: it and all before it are done (cudaEventSynchronize)."""
        _raise(self._finished, mark)

    def synchronize(self, stream: int) -> None:
        """The host waited for all that was issued to a stream (cudaStreamSynchronize)."""
        self.finish(Mark(stream, self._last.get(stream, 0), self._after.get(stream, {})))

    def synchronize_all(self, belongs: Callable[[int], bool] = lambda stream: True) -> None:
        """The host waited for all streams, or for those of one device (cudaDeviceSynchronize)."""
        for stream in {*self._last, *self._after}:
            if belongs(stream):
                self.synchronize(stream)


def _raise(numbers: dict[int, int], mark: Mark) -> None:
    for stream, number in (*mark.after.items(), (mark.stream, mark.number)):
        if number > numbers.get(stream, 0):
            numbers[stream] = number
