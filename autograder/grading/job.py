"""What a worker gets and what it gives back: plain data, so that it can travel to another machine and lie on disk."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata

_VERSIONS = ("torch", "numpy", "nbclient", "nbgrader", "ipykernel")


@dataclass(frozen=True)
class Settings:
    """How a submission is executed.

    Attributes
    ----------
    outputs : bool
        Run the notebook for its outputs. Without, and with checks, only the judge runs.
    cell_timeout, total_timeout : int
        Seconds for one cell, and for all cells of a notebook.
    judge_cell, judge_total : float
        The same for the judge's process.
    warm : bool
        Fork kernels from a process that has imported PyTorch already, where that is safe.
    sandbox : str
        "required", "auto" or "off".
    memory, processes : int
        Bytes, and processes and threads, that one submission may have.
    max_output : int
        Bytes that one notebook may print.
    """

    outputs: bool = True
    cell_timeout: int = 60
    total_timeout: int = 300
    judge_cell: float = 60.0
    judge_total: float = 600.0
    warm: bool = True
    sandbox: str = "auto"
    memory: int = 4 << 30
    processes: int = 256
    max_output: int = 20 << 20


@dataclass(frozen=True)
class Job:
    """One sanitised notebook to execute.

    Attributes
    ----------
    who : str
        "student/assignment/notebook", for messages.
    notebook : str
        The notebook as JSON.
    files : dict of str to bytes
        What lies beside it, by relative name.
    plan : dict or None
        ``judge.plan.Plan.to_json()`` with this submission as its one trial; None where scores are read from outputs.
    skip : tuple of int
        Cells that are not run for their outputs.
    """

    who: str
    notebook: str
    files: dict[str, bytes] = field(default_factory=dict)
    plan: dict | None = None
    skip: tuple[int, ...] = ()
    settings: Settings = Settings()

    def key(self) -> str:
        """Return what this job is known by: everything that its result depends on, library versions included."""
        cells = [[cell["cell_type"], cell["source"]] for cell in json.loads(self.notebook)["cells"]]
        files = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        told = [self.who, cells, files, self.plan, self.skip, asdict(self.settings), _versions()]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes
    ----------
    outputs : list
        Per code cell, by its index: its outputs and execution count. Empty if the notebook was not run.
    metadata : dict
        Notebook metadata that running adds (language, widgets).
    verdicts : list of dict
        ``judge.verdict.Verdict`` as plain data, one per check.
    ended : str
        Why the run of the notebook ended early; empty if it did not.
    lost : str
        Why there is no result at all, such as a worker that died; empty otherwise.
    remarks : tuple of str
        What the instructor should know about how it ran.
    seconds : float
        Wall time.
    worker : str
        Host and process that did it.
    """

    outputs: dict[str, list] = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)
    verdicts: list[dict] = field(default_factory=list)
    ended: str = ""
    lost: str = ""
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    worker: str = ""

    def to_json(self) -> str:
        """Return it as one JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read ``to_json()``'s text. Raises ``ValueError`` if it is not one."""
        try:
            data = json.loads(text)
            return cls(**{**data, "remarks": tuple(data["remarks"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a result: {error}") from None




def _versions() -> list[str]:
    from autograder import __version__

    found = [f"{name} {_version(name)}" for name in _VERSIONS]
    return [platform.python_version(), __version__, *found]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
