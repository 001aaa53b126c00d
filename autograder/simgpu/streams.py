"""Streams and events of a device that runs everything at once, in order."""

from __future__ import annotations

import contextlib
import time

import torch

from autograder.simgpu import compat
from autograder.simgpu.ledger import LEDGER


class Stream(torch.Stream):
    """torch.cuda.Stream's interface; work is done when it is issued."""

    def __new__(cls, device=None, priority: int = 0, **kwargs):
        return super().__new__(cls, device=torch.device(compat.NAME, 0))

    def query(self) -> bool:
        """Everything issued has finished."""
        return True

    def synchronize(self) -> None:
        """Counted as a wait."""
        LEDGER.waited()

    def wait_event(self, event) -> None:
        """Nothing to wait for."""

    def wait_stream(self, stream) -> None:
        """Nothing to wait for."""

    def record_event(self, event=None):
        """An event marking now."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        return False


class Event:
    """torch.cuda.Event's interface; times are the host's."""

    def __init__(self, enable_timing: bool = False, **kwargs):
        self._seconds = None

    def record(self, stream=None) -> None:
        """Mark now."""
        self._seconds = time.perf_counter()

    def query(self) -> bool:
        """Whatever was recorded has finished."""
        return True

    def wait(self, stream=None) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Counted as a wait."""
        LEDGER.waited()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to ``end``."""
        if self._seconds is None or end._seconds is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return (end._seconds - self._seconds) * 1e3


def current_stream(device=None) -> Stream:
    """The one stream: all Stream objects are equal."""
    return Stream()


default_stream = current_stream


def stream(chosen):
    """``with torch.simgpu.stream(s)``: no effect."""
    return contextlib.nullcontext(chosen)


def set_stream(chosen) -> None:
    """No effect: there is one stream."""
