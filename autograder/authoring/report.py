"""What ``make check`` found: one line per proof, and the faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from autograder.errors import LessonError


@dataclass
class Report:
    """Faults by lesson, collected while proofs run; ``progress`` shows each as it comes."""

    progress: Callable[[str], None] = print
    proofs: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults

    def proved(self, what: str) -> None:
        """Note that one thing holds."""
        self.proofs += 1
        self.progress(f"  ok    {what}")

    def fault(self, what: str) -> None:
        """Note that one thing does not hold."""
        self.faults.append(what)
        self.progress(f"  FAULT {what}")

    def raise_if_faulty(self) -> None:
        """Raise ``LessonError`` naming every fault."""
        if self.faults:
            count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
            raise LessonError("\n  ".join([f"check found {count}:", *self.faults]))
