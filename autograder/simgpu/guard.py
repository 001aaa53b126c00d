"""Let an exception in an autograd hook reach its caller instead of ending the process.

The engine asks the device guard for its type from code that must not throw, also while a Python exception raised by a
hook is pending. Any call into C would then fail with "returned a result with an exception set" and the process would
end. So ``type_`` makes a harmless C call first, swallows that failure, and keeps its cause: backward re-raises it. What a
signal handler raises meanwhile is kept as well, for the next operator.
"""

from __future__ import annotations

import functools
import threading
import time

import torch

from autograder.simgpu import compat, interrupts
from autograder.simgpu.devices import DEVICES
from autograder.simgpu.ledger import LEDGER

_TYPE = compat.device_type()
_PROBE = functools.partial(len, ())  # not len itself: Python 3.11+ specialises that call and skips the check
_HERE = threading.get_ident
_pending: list[BaseException] = []
_running = 0
_LONGEST_WAIT = 0.2  # seconds
_lock = threading.Lock()


class DeviceGuard(torch._C._acc.DeviceGuard):
    """The device guard of the PrivateUse1 slot. Defaults hold what ``type_`` needs: it must look nothing up."""

    @interrupts.entered_undisturbed
    def type_(self, _type=_TYPE, _probe=_PROBE, _keep=_pending.append, _put_off=interrupts.kept.append, _here=_HERE):
        try:
            _probe()
        except SystemError as error:
            _keep(error.__cause__ or error)
        except BaseException as interruption:  # noqa: BLE001 - nothing may leave this function
            interruption.__traceback__ = None  # it would hold the variables of all callers until it is raised
            _put_off((_here(), interruption))
        return _type


def _released(gradients, passed_in=()):
    """Wait until autograd's thread has let go of the gradients it returned, those aside that the caller passed in.

    It does so only once it gets Python's lock, up to 5 ms after the caller goes on and later on a busy machine: deleted
    gradients would stay allocated for a moment, and a recording would differ from run to run.
    """
    theirs = {id(tensor) for tensor in passed_in}
    made = [gradient for gradient in gradients or () if id(gradient) not in theirs]
    end = time.perf_counter() + _LONGEST_WAIT
    while any(map(_is_held, made)) and time.perf_counter() < end:
        time.sleep(0)
    return gradients


def _is_held(gradient) -> bool:
    return gradient is not None and not gradient.requires_grad and gradient._use_count() > 1


def _with_a_graph(outputs, gradients, retain_graph=False, create_graph=False, *others) -> bool:
    """Whether the gradients get a graph. Who holds one of these, its graph or a worker thread, cannot be told."""
    return bool(create_graph)


def wrap_backward(run_backward):
    """The autograd entry point, which re-raises what a hook raised.

    With several devices, on another stream than the default one, or with ``create_graph``, backward runs in the
    caller's thread: PyTorch has a worker thread for device 0 only, it would know nothing of the caller's stream, and
    it lets go of what it returned too late.
    """

    @functools.wraps(run_backward)
    def run(*args, **kwargs):
        global _running
        with _lock:
            _running += 1
        try:
            if DEVICES.several or _with_a_graph(*args) or (LEDGER.stream_now is not None and LEDGER.stream_now(0)):
                with torch.autograd.set_multithreading_enabled(False):
                    return run_backward(*args, **kwargs)
            return _released(run_backward(*args, **kwargs), args[1])
        except SystemError:
            if not _pending:
                raise
            raise _pending[-1] from None
        finally:
            with _lock:
                _running -= 1
                if not _running:
                    _pending.clear()
            if interrupts.kept:
                interrupts.deliver()

    return run
