"""Runs fixture scripts in this process: PyTorch is loaded and the device registered once."""

import gc
import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from autograder.run import Options, looks, run_script

SCRIPTS = Path(__file__).with_name("scripts")


class Run(NamedTuple):
    status: int
    stdout: str
    stderr: str
    report: dict


@pytest.fixture(autouse=True)
def time_for_every_look(request, monkeypatch):
    """Looks are bounded by time (test_looks.py proves it); which ones are taken must not depend on this machine's load."""
    if request.module.__name__.rpartition(".")[2] != "test_looks":
        monkeypatch.setattr(looks, "LEAST_SECONDS", 600.0)


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    """Run a script by name; ``report`` is the JSON report, ``stderr`` holds what else was said."""

    # torch.testing, where an earlier test loaded it, forbids scripts to set torch.backends' flags
    monkeypatch.setitem(torch.backends.flags_frozen.__globals__, "__allow_nonbracketed_mutation_flag", True)

    def run_it(name, *arguments, **options) -> Run:
        gc.collect()
        torch.simgpu.empty_cache()
        file = tmp_path / "report.json"
        path = name if isinstance(name, Path) else SCRIPTS / f"{name}.py"
        status = run_script(str(path), list(arguments), Options(json=True, output=str(file), **options))
        said = capfd.readouterr()
        return Run(status, said.out, said.err, json.loads(file.read_text(encoding="utf-8")))

    yield run_it
    gc.collect()


@pytest.fixture
def script(tmp_path):
    """Write a script and return its path."""

    def write(text) -> Path:
        path = tmp_path / "script.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write
