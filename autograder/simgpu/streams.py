"""Streams and events of the simulated devices, as far as memory and order are concerned (torch/cuda/streams.py, 2.13).

Everything is computed when it is issued. What streams decide is which blocks an allocation may reuse, and until when a
block given to another stream is held back; events carry what the host knows of each stream's progress (timeline.py).
Asking is learning: ``query()`` answers True, and then the work counts as finished.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time

import torch

from autograder.errors import NotSimulated
from autograder.simgpu import compat
from autograder.simgpu.allocator import stream_key
from autograder.simgpu.devices import DEVICES
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.stream_choices import CHOICES

STREAMS_PER_POOL = 32  # kStreamsPerPool, c10/cuda/CUDAStream.cpp: the 33rd stream is the first one again
PRIORITIES = 4  # max_compile_time_stream_priorities, c10/cuda/CUDAStream.h line 55

_here = threading.local()
_lock = threading.Lock()
_made: dict[tuple[int, int], int] = {}
_handles = itertools.count(1)
_NOT_SHARED = "the simulated GPU shares nothing between processes, events included"


class Stream(torch.Stream):
    """torch.cuda.Stream: one of 32 streams per device and priority, handed out in turns (getStreamFromPool)."""

    module = f"torch.{compat.NAME}"

    def __new__(cls, device=None, priority: int = 0, **kwargs):
        if "stream_id" in kwargs:
            return _stream(cls, kwargs["device_index"], kwargs["stream_id"])
        index = DEVICES.resolve(device)
        pool = min(max(-priority, 0), PRIORITIES - 1)
        with _lock:
            turn = _made.get((index, pool), 0)
            _made[index, pool] = turn + 1
        return _stream(cls, index, 1 + pool * STREAMS_PER_POOL + turn % STREAMS_PER_POOL)

    @property
    def cuda_stream(self) -> int:
        """The stream's handle: its number within the device, 0 for the default stream."""
        return self.stream_id

    @property
    def priority(self) -> int:
        """0, or negative for more urgent ones. Nothing here takes time, so it has no effect."""
        return -((self.stream_id - 1) // STREAMS_PER_POOL) if self.stream_id else 0

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """Least and greatest priority."""
        return 0, 1 - PRIORITIES

    def query(self) -> bool:
        """Whether all that was issued has finished: yes, and from now on it is known."""
        LEDGER.finished(self.device_index, self.stream_id)
        return True

    def synchronize(self) -> None:
        """Wait for all that was issued; counted as a wait."""
        LEDGER.finished(self.device_index, self.stream_id)
        LEDGER.waited()

    def wait_event(self, event) -> None:
        """What is issued from now on begins after the event."""
        event.wait(self)

    def wait_stream(self, stream) -> None:
        """What is issued from now on begins after what the other stream has been given so far."""
        self.wait_event(stream.record_event())

    def record_event(self, event=None):
        """An event marking now."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __enter__(self):
        _entered().append(StreamContext(self))
        _entered()[-1].__enter__()
        return self

    def __exit__(self, *exc_info):
        return _entered().pop().__exit__(*exc_info)

    def __eq__(self, other) -> bool:
        return isinstance(other, torch.Stream) and _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self))

    def __repr__(self) -> str:
        device = f"{self.module.removeprefix('torch.')}:{self.device_index}"
        return f"<{self.module}.Stream device={device} cuda_stream={self.cuda_stream:#x}>"

    @property
    def _as_parameter_(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.cuda_stream)

    def __cuda_stream__(self) -> tuple[int, int]:
        """(version of the protocol, handle); no CUDA library knows the handle."""
        return 0, self.cuda_stream


class Event(torch.Event):
    """torch.cuda.Event: a place in a stream's work. Times are the host's.

    ``cuda_event`` and ``event_id`` are its handle, a number of its own: 0 before it is recorded (CUDAEvent::createEvent).
    """

    module = f"torch.{compat.NAME}"

    def __new__(cls, enable_timing: bool = False, blocking=False, interprocess=False, external=False):
        if interprocess:
            raise NotSimulated(_NOT_SHARED)
        event = torch.Event.__new__(cls, torch.device(compat.NAME), enable_timing=enable_timing, blocking=blocking)
        event._timing = enable_timing
        event._mark = None
        event._seconds = None
        event._device = None
        event.cuda_event = 0
        return event

    @property
    def event_id(self) -> int:
        """The handle."""
        return self.cuda_event

    @property
    def device(self) -> torch.device | None:
        """Where it was recorded, or None."""
        return None if self._device is None else torch.device(compat.NAME, self._device)

    @property
    def _as_parameter_(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.cuda_event)

    @classmethod
    def from_ipc_handle(cls, device, handle):
        """Raises NotSimulated."""
        raise NotSimulated(_NOT_SHARED)

    def ipc_handle(self):
        """Raises NotSimulated."""
        raise NotSimulated(_NOT_SHARED)

    def record(self, stream=None) -> None:
        """Mark what the stream (the current one) has been given so far. Raises RuntimeError for another device's."""
        stream = current_stream() if stream is None else stream
        if self._device not in (None, stream.device_index):
            raise RuntimeError(
                f"Event device {self._device} does not match recording stream's device {stream.device_index}."
            )
        self._device = stream.device_index
        self.cuda_event = self.cuda_event or next(_handles)
        self._mark = LEDGER.timeline.mark(stream_key(stream.device_index, stream.stream_id))
        self._seconds = time.perf_counter()

    def query(self) -> bool:
        """Whether what was marked has finished: yes, and from now on it is known."""
        self._finish()
        return True

    def wait(self, stream=None) -> None:
        """What the stream (the current one) is given from now on begins after this event."""
        stream = current_stream() if stream is None else stream
        if self._mark is not None:
            LEDGER.timeline.wait(stream_key(stream.device_index, stream.stream_id), self._mark)

    def synchronize(self) -> None:
        """Wait for what was marked; counted as a wait."""
        self._finish()
        LEDGER.waited()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another. Raises ValueError without timing and before recording,
        RuntimeError (torch.AcceleratorError) for events of two devices."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._seconds is None or end_event._seconds is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if self._device != end_event._device:  # cudaEventElapsedTime: cudaErrorInvalidResourceHandle
            raise getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: invalid resource handle")
        return (end_event._seconds - self._seconds) * 1e3

    def __repr__(self) -> str:
        state = f"{self.cuda_event:#x}" if self.cuda_event else "uninitialized"
        return f"<{self.module}.Event {state}>"

    def _finish(self) -> None:
        if self._mark is not None:
            LEDGER.timeline.finish(self._mark)


class StreamContext:
    """``with torch.simgpu.stream(s):`` makes a stream, and its device, the current ones for a while."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        if self.stream is None:
            return
        self._before = DEVICES.current(), current_stream(self.stream.device)
        set_stream(self.stream)

    def __exit__(self, *exc_info):
        if self.stream is not None:
            index, stream_there = self._before
            set_stream(stream_there)
            DEVICES.choose(index)


def stream(stream: Stream | None) -> StreamContext:
    """``with torch.simgpu.stream(s):`` makes a stream, and its device, the current ones for a while; None changes nothing."""
    return StreamContext(stream)


def current_stream(device=None) -> Stream:
    """The stream that allocations of this thread are made for."""
    index = DEVICES.resolve(device)
    return _stream(Stream, index, 0 if LEDGER.stream_now is None else CHOICES.now(index))


def default_stream(device=None) -> Stream:
    """The stream in use until another is chosen."""
    return _stream(Stream, DEVICES.resolve(device), 0)


def set_stream(chosen) -> None:
    """Make a stream, and its device, the current ones of this thread; None changes nothing."""
    if chosen is None:
        return
    DEVICES.choose(chosen.device_index)
    if chosen.stream_id and LEDGER.stream_now is None:
        LEDGER.stream_now = CHOICES.now
    if LEDGER.stream_now is not None:
        CHOICES.choose(chosen.device_index, chosen.stream_id)


def _entered() -> list[StreamContext]:
    if not hasattr(_here, "entered"):
        _here.entered = []
    return _here.entered


def _identity(stream) -> tuple[int, int]:
    return stream.device_index, stream.stream_id


def _stream(cls, index: int, number: int):
    return torch.Stream.__new__(cls, stream_id=number, device_index=index, device_type=compat.DEVICE_TYPE)
