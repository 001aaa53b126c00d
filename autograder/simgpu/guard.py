"""Let an exception in an autograd hook reach its caller instead of ending the process, and leave nothing behind.

The engine asks the device guard for its type from code that must not throw, also while a Python exception raised by a
hook is pending. Any call into C would then fail with "returned a result with an exception set" and the process would
end. So ``type_`` makes a harmless C call first, swallows that failure, and keeps its cause: backward re-raises it. What a
signal handler raises meanwhile is kept as well, for the next operator.
"""

from __future__ import annotations

import functools
import threading

import torch

from autograder.simgpu import compat, interrupts

_TYPE = compat.device_type()
_PROBE = functools.partial(len, ())  # not len itself: Python 3.11+ specialises that call and skips the check
_HERE = threading.get_ident
_pending: list[BaseException] = []
_running = 0
_lock = threading.Lock()
_nested = threading.local()


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


def wrap_backward(run_backward):
    """The autograd entry point, which re-raises what a hook raised.

    Backward runs in the caller's thread. PyTorch's own has a worker thread for device 0 only, knows nothing there of the
    caller's stream, and lets go of what it returned up to 5 ms late, when it gets Python's lock: deleted gradients
    would stay allocated for a moment, and a recording would differ from run to run.
    """
    last_of_all = _LastOfAll(run_backward)

    @functools.wraps(run_backward)
    def run(*args, **kwargs):
        global _running
        with _lock:
            _running += 1
        depth = _nested.depth = getattr(_nested, "depth", 0) + 1
        failed = True
        try:
            with torch.autograd.set_multithreading_enabled(False):
                results = _into_the_engine(run_backward, args, kwargs)
            failed = False
            return results
        except SystemError:
            if not _pending:
                raise
            raise _pending[-1] from None
        finally:
            _nested.depth = depth - 1
            if failed and depth == 1:
                last_of_all.run()
            with _lock:
                _running -= 1
                if not _running:
                    _pending.clear()
            if interrupts.kept:
                interrupts.deliver()

    return run


@interrupts.interruptible
def _into_the_engine(run_backward, args, kwargs):
    return run_backward(*args, **kwargs)


class _LastOfAll:
    """A backward of one node that comes after everything else in the engine's queue.

    A backward that fails in the caller's thread leaves what it had yet to do in that thread's queue
    (Engine::thread_main, torch/csrc/autograd/engine.cpp): graph and gradients would live until the next backward, where
    a worker thread of CUDA's drops them at once. The queue is ordered by sequence number, so a node with number 0 is
    reached when all of that has been dropped.
    """

    def __init__(self, run_backward) -> None:
        self._run_backward = run_backward
        with torch.enable_grad():
            self._leaf = torch.zeros((), device="cpu", requires_grad=True)
            self._root = self._leaf.clone()
        self._gradient = torch.ones((), device="cpu")
        compat.set_sequence_number(self._root.grad_fn, 0)

    def run(self) -> None:
        """Empty this thread's queue."""
        self._run_backward((self._root,), (self._gradient,), True, False, (self._leaf,), False, accumulate_grad=False)
