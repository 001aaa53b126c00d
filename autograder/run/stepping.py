"""What a step of a script is, found while it runs.

From the best sign to the last resort: a pass of the loop the user named; a call of ``optimizer.step()``; the time from
one forward call of the outermost module to the next; a twentieth of a second in which memory was allocated. The run begins with the last and
goes over to a better one as soon as it is seen; what was sampled until then is dropped.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack

from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from autograder.trace import Recording

KINDS = ("time", "forward", "optimizer", "loop")
"""From the last resort to the surest."""
_TICK = 0.05  # seconds


class Stepping:
    """Marks the steps of a recording from hooks that PyTorch offers.

    Parameters
    ----------
    recording : Recording
        Entered already; its step 0 begins now.
    kind : str, optional
        One of KINDS, to look for no other; None finds it.
    each : callable
        Called after each step.

    Attributes
    ----------
    kind : str
        What marks the steps now.
    marker : str
        The name of the optimizer or module that does.
    highest : int
        The highest peak of samples that were dropped, in bytes.
    """

    def __init__(self, recording: Recording, kind: str | None, each: Callable[[], None]):
        self.kind = kind or KINDS[0]
        self.marker = ""
        self.highest = 0
        self._recording = recording
        self._each = each
        self._wanted = (kind,) if kind else KINDS[:-1]
        self._first: weakref.ref | None = None
        self._depth = 0
        self._thread = threading.get_ident()
        self._hooks = ExitStack()
        self._forward_hooks = ExitStack()

    def start(self) -> None:
        """Set the hooks and open step 0."""
        if "optimizer" in self._wanted:
            self._hooks.callback(register_optimizer_step_post_hook(self._stepped).remove)
        if "forward" in self._wanted:
            self._forward_hooks.callback(register_module_forward_pre_hook(self._entered).remove)
            self._forward_hooks.callback(register_module_forward_hook(self._left, always_call=True).remove)
        self._due = time.monotonic() + _TICK
        if "time" in self._wanted:
            self._recording.call_after_allocations(self._allocated)
        self._recording.begin_step()

    def stop(self) -> None:
        """Remove the hooks; the step that was open counts to none."""
        self._hooks.close()
        self._forward_hooks.close()
        self._recording.call_after_allocations(None)
        self._recording.abandon_step()

    def loop_passed(self) -> None:
        """The marked loop begins a pass."""
        self._mark("loop", None)

    def _stepped(self, optimizer, args, kwargs) -> None:
        self._mark("optimizer", optimizer)

    def _entered(self, module, inputs) -> None:
        if threading.get_ident() == self._thread:
            if self._depth == 0:
                self._mark("forward", module)
            self._depth += 1

    def _left(self, module, inputs, output) -> None:
        if threading.get_ident() == self._thread:
            self._depth -= 1

    def _allocated(self) -> None:
        if self.kind == "time" and time.monotonic() >= self._due and threading.get_ident() == self._thread:
            self._mark("time", None)
            self._due = time.monotonic() + _TICK

    def _mark(self, kind: str, marker: object) -> None:
        if threading.get_ident() != self._thread or KINDS.index(kind) < KINDS.index(self.kind):
            return
        if kind != self.kind:
            self._go_over_to(kind)
        if marker is not None and not self._is_first(marker):
            return
        self._recording.end_step()
        self._each()
        self._recording.begin_step()

    def _go_over_to(self, kind: str) -> None:
        self.kind, self._first = kind, None
        self._recording.call_after_allocations(None)
        if kind != "forward":
            self._forward_hooks.close()
        self.highest = max([self.highest, *(sample.peak for sample in self._recording.trace.samples)])
        self._recording.restart()

    def _is_first(self, marker: object) -> bool:
        """Several optimizers may step in turn: the first one seen counts, and the next one after it is gone."""
        first = self._first() if self._first is not None else None
        if first is None:
            self._first = weakref.ref(marker)
            self.marker = type(marker).__name__
            return True
        return first is marker
