"""Every exception this package raises on purpose.

The tree::

    AutograderError
    ├── SetupError            setup() was given something it cannot use
    │   ├── UnknownLesson     no lesson of that name; carries the nearest one
    │   ├── UnknownDevice     AUTOGRADER_DEVICE names no device
    │   ├── SimGpuUnavailable this torch lacks a hook, or setup came too late
    │   └── AllocatorSettingsError
    │                         the simulated allocator cannot do what a setting asks
    ├── NotSimulated          a CUDA script asked for what the simulated GPU does not have
    │   └── NoArrayInterface  ... of a tensor, as an attribute: hasattr() says no
    ├── RecordError           record() or a trace was used in a way that measures nothing
    ├── StepTimeout           a recorded step ran past its time limit
    ├── CheckFailed           the learner's fix does not do what it must
    │   └── Tampered          something a check relies on was replaced
    ├── RunError              a script cannot be run: not found, not Python, no such loop
    ├── LessonError           a lesson source cannot be built: file, cell, reason
    ├── LessonBroken          the instructor's own cells do not run, so nothing can be judged
    ├── GradingFailed         nbgrader did not get through an assignment
    │   ├── ConfinementUnavailable
    │   │                     a sandbox is required, and this machine has none
    │   └── ForkRefused       the warm process cannot make a child; a cold one can
    └── LaunchError           publishing or starting the course failed
"""

from __future__ import annotations


class AutograderError(Exception):
    """Base of all errors raised on purpose; its text says what to do next."""

    def _render_traceback_(self) -> list[str]:
        """Show only the message in a notebook (IPython's hook): the frames are ours, not the learner's."""
        return [f"{type(self).__name__}: {self}"]


class SetupError(AutograderError, ValueError):
    """``setup()`` was given something it cannot use."""


class UnknownLesson(SetupError):
    """No lesson has that name."""


class UnknownDevice(SetupError):
    """``AUTOGRADER_DEVICE`` names no device this course knows."""


class SimGpuUnavailable(SetupError):
    """The simulated GPU cannot be registered in this process."""


class AllocatorSettingsError(SetupError):
    """The simulated allocator cannot do what a setting asks."""


class NotSimulated(AutograderError, NotImplementedError):
    """The simulated GPU has no counterpart of what was called."""


class NoArrayInterface(NotSimulated, AttributeError):
    """``__cuda_array_interface__`` of a simulated tensor. Also an AttributeError, so that hasattr() says no."""


class RecordError(AutograderError, ValueError):
    """A recording was asked for that would measure nothing."""


class StepTimeout(AutograderError, TimeoutError):
    """A recorded step ran past its time limit and was stopped."""


class RunError(AutograderError, ValueError):
    """``autograder run`` was given a script or an option that it cannot use."""


class CheckFailed(AutograderError, AssertionError):
    """A check found the learner's work wanting.

    Attributes
    ----------
    rule : str
        Short stable phrase, such as ``"not flat"``.
    limit, actual : str
        What was allowed and what was measured, with units.
    culprit : object or None
        Where the memory was allocated (a ``Site``), if known.
    holder : str or None
        Who keeps it alive, in words, if known.
    next_step : str or None
        What the learner can do now.
    """

    def __init__(self, rule, limit="", actual="", culprit=None, holder=None, next_step=None):
        self.rule = rule
        self.limit = limit
        self.actual = actual
        self.culprit = culprit
        self.holder = holder
        self.next_step = next_step
        super().__init__(self._text())

    def _text(self) -> str:
        head = f"{self.rule}: " + "; ".join(part for part in (self.limit, self.actual) if part)
        parts = [head.rstrip(": ")]
        if self.culprit is not None:
            parts.append(f"allocated at {self.culprit}")
        if self.holder:
            parts.append(f"held by {self.holder}")
        if self.next_step:
            parts.append(self.next_step)
        sentences = [part[0].upper() + part[1:] if index else part for index, part in enumerate(parts)]
        return ". ".join(sentence.rstrip(".") for sentence in sentences) + "."


class Tampered(CheckFailed):
    """Something the verdict relies on was replaced by the notebook."""


class LessonError(AutograderError, ValueError):
    """A lesson source cannot be built."""


class LessonBroken(AutograderError):
    """The instructor's own cells do not run, so nothing can be judged."""


class GradingFailed(AutograderError):
    """nbgrader could not finish a command; the text ends with its own log."""


class ConfinementUnavailable(GradingFailed):
    """A sandbox is required or was chosen, and cannot be made here."""


class ForkRefused(GradingFailed):
    """The process that should fork a child did not; the text says why."""


class LaunchError(AutograderError, RuntimeError):
    """Publishing or starting the course failed."""
