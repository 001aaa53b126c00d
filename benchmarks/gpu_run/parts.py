"""The parts of a run on a GPU, in order of value, and how each lists and runs its items.

Only the standard library is imported here: what a part needs is imported by its child, so that whatever is missing on
the machine costs that part alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part. ``share`` is the part of the whole time that it may take in the first round; what is left goes on.

    ``module`` offers ``items(device)``, the names of its items, and ``run(item, device)``, which yields (name, value)
    pairs; and ``environment(item)``, if there, the variables that an item's process needs. ``silence``: seconds without a value after which an item hangs. ``fresh``:
    each item has a process of its own. ``needs``: packages beyond torch, numpy and matplotlib.
    """

    name: str
    title: str
    module: str
    share: float
    silence: float
    fresh: bool = False
    parallel: bool = False
    needs: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.name}.jsonl"


_HOME = "benchmarks.gpu_run."
PARTS = (
    Part("small", "fidelity programs, small", _HOME + "small_programs", 0.25, 60),
    Part(
        "lessons",
        "recordings of every lesson, leak and fix",
        _HOME + "lesson_traces",
        0.35,
        90,
        fresh=True,
        parallel=True,
    ),
    Part("allocator", "the allocator's sequences of requests", _HOME + "allocator", 0.15, 60),
    Part("tests", "tests marked cuda", _HOME + "cuda_tests", 0.25, 60, fresh=True, parallel=True, needs=("pytest",)),
    Part("published", "programs of published figures", _HOME + "published", 0.15, 60, fresh=True),
    Part("verdicts", "verdicts on every answer and fixture", _HOME + "verdicts", 0.4, 120, fresh=True, parallel=True),
    Part("full", "fidelity programs, full size", _HOME + "full_programs", 1.0, 90),
)
BY_NAME = {part.name: part for part in PARTS}
