"""Runs a step again and again, and notes what memory did."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable

import torch

from autograder.errors import RecordError, StepTimeout
from autograder.trace.advice import advise
from autograder.trace.devices import default_device
from autograder.trace.frames import keepsake, learners_place, without_our_frames
from autograder.trace.garbage import collect
from autograder.trace.meters import meter_for
from autograder.trace.result import Trace
from autograder.trace.samples import Sample, sample_between
from autograder.trace.sites import site_of
from autograder.trace.time_limit import StepStopped, time_limit
from autograder.trace.unsolved import shorten

_numbers = itertools.count()
_running: Recording | None = None
_last: Trace | None = None


def record(
    step: Callable | None = None,
    steps: int = 20,
    warmup: int = 3,
    *,
    device: torch.device | str | None = None,
    timeout: float | None = 60.0,
    label: str | None = None,
) -> Trace | Recording:
    """Record what memory does while a step runs.

    ``record(step)`` calls ``step()`` (or ``step(i)``, if it takes one positional argument) ``warmup + steps`` times,
    drops what it returns, and gives a ``Trace``. Without ``step`` it is a context manager, for loops that live inside
    a function::

        with record(warmup=3) as trace:
            losses = train(model, trace.steps(batches))

    Garbage that holds device memory is collected before the first step and never after: memory that only the collector would free is
    part of what is measured. A step runs from one item pulled to the next. Host memory is not device memory.

    Parameters
    ----------
    steps, warmup : int
        Measured steps, and steps before them in which gradients, optimizer state and workspaces settle.
    device : torch.device or str, optional
        What to watch; by default the device that ``setup()`` chose.
    timeout : float or None
        Seconds that one step may take. In the main thread any step is stopped; elsewhere (and on Windows) one that
        is stuck inside a single call into C is not.
    label : str, optional
        Title of the trace; by default the step's name.

    Raises
    ------
    RecordError
        If the arguments measure nothing, or another recording runs.
    StepTimeout
        If a step ran past its time limit.
    """
    __tracebackhide__ = True
    _refuse_bad_counts(steps, warmup)
    recording = Recording(device, warmup, timeout, label or getattr(step, "__name__", None) or "recording", step)
    if step is None:
        return recording
    if not callable(step):
        raise RecordError(f"record(step) expects something to call, got {type(step).__name__}")
    with recording as trace:
        numbers = trace.steps(range(warmup + steps))
        if _takes_the_step_number(step):
            for number in numbers:
                step(number)
        else:
            for _ in numbers:
                step()
    return trace


def last() -> Trace | None:
    """Return the trace of the latest recording, also if a step of it raised; None before the first."""
    return _last


def _refuse_bad_counts(steps: int, warmup: int) -> None:
    for name, value, least in (("steps", steps, 1), ("warmup", warmup, 0)):
        if not isinstance(value, int) or value < least:
            raise RecordError(f"record({name}=...) expects a whole number of at least {least}, got {value!r}")


def _takes_the_step_number(step: Callable) -> bool:
    try:
        inspect.signature(step).bind()
    except TypeError:
        return True
    except ValueError:
        return False
    return False


class Recording:
    """One recording: a context manager whose value is the trace that it fills."""

    def __init__(
        self,
        device: torch.device | str | None,
        warmup: int,
        timeout: float | None,
        title: str,
        function: Callable | None = None,
    ) -> None:
        self._device = torch.device(device) if device is not None else default_device()
        self._meter = meter_for(self._device, next(_numbers))
        self._limit_seconds = timeout
        self.trace = Trace(self._meter, warmup, title)
        self._function = function
        self._step = -1
        self._open = False

    def __enter__(self) -> Trace:
        global _running, _last
        if _running is not None:
            raise RecordError("a recording is already running: end it before the next one begins")
        collect(self._meter.addresses, self._function)
        _running, _last = self, self.trace
        self._meter.start()
        self.trace._begin(self, self._meter.counters().allocated)
        self._before = self._meter.counters()
        self._limit = time_limit(self._limit_seconds)
        self._limit.start()
        return self.trace

    def __exit__(self, kind, error, traceback) -> bool:
        __tracebackhide__ = True
        global _running
        self._limit.stop()
        if error is None:
            self.end_step()
        try:
            self.trace._end(self._sample(), self._meter.snapshot(), keepsake(self._explain(error)))
        finally:
            self._meter.stop()
            _running = None
        shorten(error)
        advise(error)
        traceback = without_our_frames(traceback)
        if isinstance(error, StepStopped):
            raise self._explain(error).with_traceback(traceback) from None
        return False

    def restart(self) -> None:
        """Forget the samples and tags so far, as another kind of step counts from now on; step 0 is open."""
        self._meter.begin_again(next(_numbers))
        self.trace._begin(self, self.trace.baseline)
        self._step, self._open, self._meter.step = 0, True, 0

    def call_after_allocations(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback()`` after each allocation on the device; None ends it."""
        self._meter.after_allocation = callback

    def settle_warmup(self, warmup: int) -> None:
        """Say how many of the samples were warm-up, where that could not be known before."""
        self.trace._note(warmup=warmup)

    def begin_step(self) -> None:
        """The learner's loop asks for its next item."""
        if self._step < 0:
            self._before = self._meter.counters()
            self._meter.reset_peak()
        self._limit.restart()
        self._step += 1
        self._open = True
        self._meter.step = self._step

    def abandon_step(self) -> None:
        """There was no next item."""
        self._open = False
        self._step -= 1

    def end_step(self) -> None:
        """Take the sample of the step that is open, if one is."""
        if self._open:
            self.trace._add(self._sample())
            self._open = False

    def _sample(self) -> Sample:
        now = self._meter.counters()
        sample = sample_between(len(self.trace.samples), self._before, now)
        self._before = now
        self._meter.reset_peak()
        return sample

    def _explain(self, error: BaseException | None) -> BaseException | None:
        if not isinstance(error, StepStopped):
            return error
        site = site_of(learners_place(error.__traceback__))
        return StepTimeout(
            f"took too long: step {len(self.trace.samples)} of {self.trace.title!r} ran past {self._limit_seconds:g} s "
            f"and was stopped{f' at {site}' if site else ''}. "
            "Look for a loop that never ends, or allow more with record(..., timeout=...)"
        )
