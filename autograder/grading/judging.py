"""The judge inside the sandbox: its process is forked from a warm one, confined like the notebook, fresh for each start."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from autograder.grading.confine import Confinement, Sandbox, decide
from autograder.grading.files import unpack
from autograder.grading.job import Job
from autograder.grading.scratch import Scratch
from autograder.grading.warm import Child, Warm, start_child
from autograder.judge.plan import Plan
from autograder.judge.process import Limits, judge

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_OURS = ("AUTOGRADER_", "PYTORCH_")


def judged(job: Job, confinement: Confinement) -> tuple[list[dict], list[str]]:
    """Judge a job's answers; return the verdicts as plain data, and what whoever grades must be told.

    Raises
    ------
    ConfinementUnavailable
        If a sandbox is required and this machine has none.
    """
    confined, _ = decide(confinement)
    scratch = Scratch()
    launch = _Launcher(scratch.path, confinement if confined else None, job.settings.warm)
    try:
        folder = scratch.path / "files"
        folder.mkdir()
        remarks = unpack(job.files, folder)
        limits = Limits(each=job.settings.judge_cell, total=job.settings.judge_total)
        (verdicts,) = judge(Plan.from_json(job.plan), folder, limits, launch=launch)
    finally:
        scratch.close()
    return [asdict(verdict) for verdict in verdicts.values()], [*remarks, *launch.remarks]


class _Launcher:
    """Starts the judge's processes, each in a sandbox of its own."""

    def __init__(self, scratch: Path, confinement: Confinement | None, warm: bool) -> None:
        self._scratch, self._confinement, self._warm = scratch, confinement, warm
        self.remarks: list[str] = []

    def __call__(self, request: bytes, fds: tuple[int, ...]) -> _Confined:
        sandbox = Sandbox(str(self._scratch), confinement=self._confinement) if self._confinement else None
        with tempfile.TemporaryFile() as told:
            told.write(request)
            told.seek(0)
            about = {
                "function": "autograder.judge.worker:main",
                "environment": _environment(str(self._scratch)),
                "folder": str(self._scratch / "files"),
            }
            held = {0: told.fileno(), **{number: number for number in fds}}
            warm = Warm.shared() if self._warm else None
            child, remark = start_child("call", about, held, sandbox, warm)
        if remark and remark not in self.remarks:
            self.remarks.append(remark)
        return _Confined(child, sandbox)


class _Confined:
    """A judge's process under way (``judge.launching.Launched``)."""

    def __init__(self, child: Child, sandbox: Sandbox | None) -> None:
        self._child, self._sandbox = child, sandbox
        self.pid = child.pid

    @property
    def returncode(self) -> int | None:
        return self._child.returncode

    def poll(self) -> int | None:
        return self._child.poll()

    def wait(self) -> int:
        return self._child.wait()

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()
        self._child.close()
        if self._sandbox is not None:
            self._sandbox.close()


def _environment(scratch: str) -> dict[str, str]:
    """A few names of ours; tokens and the like stay outside."""
    passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith(_OURS)}
    home = {"HOME": scratch, "TMPDIR": "/tmp", "MPLCONFIGDIR": scratch}
    return {**passed, **home, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
