"""Runs one notebook in a kernel of its own: a notebook and its files in, the notebook with outputs out.

Knows no gradebook and no course directory, so it can be done anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from nbformat import NotebookNode

from autograder.errors import ConfinementUnavailable
from autograder.grading.cell_runner import CellRunner
from autograder.grading.confine import Confinement, decide
from autograder.grading.files import unpack
from autograder.grading.kernels import grading_manager
from autograder.grading.scratch import Scratch

_MIB = 1 << 20


@dataclass(frozen=True)
class RunOptions:
    """How to run a notebook; plain data.

    Attributes
    ----------
    cell_timeout, total_timeout : int
        Seconds for one cell, after which it is interrupted, and for all, after which the kernel is killed.
    max_output, max_cell_output : int
        Bytes of output: beyond the first the run ends, beyond the second the rest of a cell's output is left out.
    skip : tuple of int
        Indices of cells that are not run.
    confinement : Confinement
        Sandbox and limits.
    warm : bool
        Whether to fork the kernel from a process that has imported everything.
    environment : dict
        More environment variables; nbgrader sets this one while it grades.
    """

    cell_timeout: int = 60
    total_timeout: float = 300
    max_output: int = 20 * _MIB
    max_cell_output: int = 5 * _MIB
    skip: tuple[int, ...] = ()
    confinement: Confinement = field(default_factory=Confinement)
    warm: bool = True
    environment: dict[str, str] = field(default_factory=lambda: {"NBGRADER_EXECUTION": "autograde"})

    def to_json(self) -> dict:
        """Return plain data."""
        return {**asdict(self), "confinement": self.confinement.to_json()}

    @classmethod
    def from_json(cls, data: Mapping) -> RunOptions:
        """Return what ``to_json`` was called on."""
        confinement = Confinement.from_json(data["confinement"])
        return cls(**{**data, "skip": tuple(data["skip"]), "confinement": confinement})


@dataclass
class Ran:
    """What came of running a notebook.

    Attributes
    ----------
    notebook : NotebookNode
        With outputs, as far as it came.
    ended : str
        Why the run ended early (the name of the cell's error and a sentence), or "".
    seconds : float
    confined, warm : bool
        How it was really run.
    remarks : list of str
        What whoever grades must be told.
    """

    notebook: NotebookNode
    ended: str = ""
    seconds: float = 0.0
    confined: bool = False
    warm: bool = False
    remarks: list[str] = field(default_factory=list)


def run_notebook(nb: NotebookNode, files: Mapping[str, bytes], options: RunOptions) -> Ran:
    """Run a notebook, which gets its outputs in place, among its files. Student code cannot make this raise.

    Raises
    ------
    ConfinementUnavailable
        If the options require a sandbox and this machine has none.
    """
    begun = time.perf_counter()
    decide(options.confinement)  # before anything is made
    ran = Ran(nb)
    scratch = Scratch()
    folder = scratch.path
    manager = grading_manager(options.confinement, options.warm, options.environment)
    try:
        ran.remarks += unpack(files, folder)
        runner = CellRunner(manager, options, str(folder))
        try:
            runner.run(nb)
            ran.ended = runner.ended
        except ConfinementUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a notebook contains, it is a result
            said = " ".join(str(error).split())[:500]
            ran.ended = runner.ended or f"NotRun: the notebook could not be run: {type(error).__name__}: {said}"
    finally:
        scratch.close()
    if manager.provisioner is not None:
        ran.confined, ran.warm = manager.provisioner.is_confined, manager.provisioner.is_warm
        ran.remarks += manager.provisioner.remarks
    ran.seconds = time.perf_counter() - begun
    return ran
