"""Wrong answers that try to get points: one table per kind of trick, and the small lesson that they attack.

``benchmarks/attacks.py`` runs the same tables through plain nbgrader and prints the table of docs/security.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autograder.judge.plan import Answer, Check, Given, Plan, Trial

SETUP = "import torch\nimport autograder as ag\n"
WORLD = """
class Scale(torch.nn.Module):
    factor = 2.0
    def forward(self, x):
        return self.factor * x

def total(x):
    return float(Scale()(x).sum())
"""
CHECK = """
def verdict(size, seed):
    torch.manual_seed(seed)
    x = torch.randn(size)
    expected = total(x)
    found = answer(x)
    ag.check.same(found, expected)

verdict(4, seed=0)
### BEGIN HIDDEN TESTS
verdict(9, seed=7)
### END HIDDEN TESTS
2
"""
OTHER_CHECK = "assert other() == 1\n1\n"
OTHER = "def other():\n    return 1\n"
WRONG = "def answer(x):\n    return 0.0\n"


@dataclass(frozen=True)
class Attack:
    """An answer, what the verdict's reason must say, other cells of the learner's, files beside the notebook."""

    source: str
    said: str
    before: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    def trial(self, label: str) -> Trial:
        """The attacked notebook, whose other exercise is answered rightly."""
        cells = (Answer(f"cell {number}", text) for number, text in enumerate(self.before, start=1))
        own = Answer("your answer to answer", self.source, "answer")
        return Trial(label, (*cells, own, Answer("your answer to other", OTHER, "other")))


def small_plan() -> Plan:
    """The lesson: one exercise that is attacked, and one that is not."""
    return Plan(
        given=(Given("setup", SETUP, setup=True), Given("given-world", WORLD)),
        checks=(
            Check("check-answer", "answer", 2.0, CHECK, ("answer",)),
            Check("check-other", "other", 1.0, OTHER_CHECK, ("other",)),
        ),
    )


def looking(expression: str, *prepared: str) -> str:
    """Return an answer that takes the expected value from wherever ``expression`` finds it."""
    return "".join(f"{line}\n" for line in prepared) + f"def answer(x):\n    return {expression}\n"
