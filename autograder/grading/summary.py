"""The end of a run: a table for people, JSON for machines, and the exit status."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder.grading.outcomes import FAILED, STATES, Outcome

GRADED, FAILURES, NEEDS_A_HUMAN, INTERRUPTED = 0, 1, 3, 130
"""Exit statuses: everything graded; some could not be graded; graded, but somebody should look; Ctrl-C."""


@dataclass
class Summary:
    """What one run did.

    Attributes
    ----------
    outcomes : list of Outcome
        The submissions graded in this run.
    skipped : int
        Submissions that had been graded before.
    seconds : float
        Wall time.
    place : str
        Where notebooks were executed.
    remarks : list of str
        What holds for the whole run, such as that nothing was confined.
    interrupted : bool
        Whether the run was cut short; the same command continues it.
    """

    assignment: str
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0
    place: str = ""
    remarks: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def status(self) -> int:
        """The exit status."""
        if self.interrupted:
            return INTERRUPTED
        if any(outcome.state == FAILED for outcome in self.outcomes):
            return FAILURES
        return NEEDS_A_HUMAN if any(outcome.needs for outcome in self.outcomes) else GRADED

    def to_json(self) -> dict:
        """Return it as plain data."""
        return {
            "assignment": self.assignment,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "place": self.place,
            "skipped": self.skipped,
            "interrupted": self.interrupted,
            "remarks": self.remarks,
            "counts": self.counts,
            "submissions": [outcome.to_json() for outcome in self.outcomes],
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many submissions are in each state, in the order of ``STATES``."""
        found = Counter(outcome.state for outcome in self.outcomes)
        return {state: found[state] for state in STATES if found[state]}

    def print(self, console: Console) -> None:
        """Show the counts, each submission that needs a human with the reason, who was late, and who edited what."""
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items()) or "nothing to grade"
        rate = f", {60 * len(self.outcomes) / self.seconds:.0f} a minute" if self.outcomes and self.seconds else ""
        before = f"; {self.skipped} graded before" if self.skipped else ""
        first = f"{self.assignment}: {counts}{before}. {self.seconds:.1f} s{rate}."
        console.print(first, highlight=False, markup=False, soft_wrap=True)
        for remark in self.remarks:
            console.print(f"Note: {remark}", highlight=False, markup=False, soft_wrap=True)
        needy = [outcome for outcome in self.outcomes if outcome.needs]
        if needy:
            table = Table("student", "points", "state", "why somebody should look", title_justify="left")
            for o in needy:
                texts = o.student, f"{o.score:g} of {o.most:g}", o.state, o.needs
                table.add_row(*map(Text, texts))  # plain: names of files that were handed in may look like markup
            console.print(table)
        late = ", ".join(f"{o.student} by {o.late / 3600:.1f} h" for o in self.outcomes if o.late > 0)
        edited = ", ".join(f"{o.student} ({', '.join(o.edited)})" for o in self.outcomes if o.edited)
        for what, who in (("Late", late), ("Edited cells that were not used", edited)):
            if who:
                console.print(f"{what}: {who}", highlight=False, markup=False, soft_wrap=True)
        if self.interrupted:
            console.print("Interrupted. The same command goes on where this one stopped.", highlight=False)
