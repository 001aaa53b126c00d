"""A pytest plugin: keeps the tests for one device, and says on a pipe which files they are in and how each went."""

from __future__ import annotations

import json
import os

from autograder import simgpu

DEVICE, PIPE = "AUTOGRADER_ON_GPU_DEVICE", "AUTOGRADER_ON_GPU_PIPE"
ELSEWHERE = ("tests/lessons/",)
"""Tests left out: the part "verdicts" runs the same fixtures, trial by trial."""


if os.environ.get("AUTOGRADER_ON_GPU_DEVICE") == "cuda":
    # conftests register the simulated GPU; PyTorch then takes it for the accelerator, and CUDA's own backward fails
    simgpu.enable = lambda *arguments, **options: None


def pytest_collection_modifyitems(items) -> None:
    """Leave the cases marked ``cuda``, or in their files those named after another device."""
    marked = {item.path for item in items if item.get_closest_marker("cuda")}
    items[:] = [item for item in items if item.path in marked and _is_wanted(item)]
    for file in sorted({item.nodeid.split("::")[0] for item in items}):
        _say({"file": file})


def _is_wanted(item) -> bool:
    case, device = getattr(item, "callspec", None), os.environ[DEVICE]
    here = case is not None and device in case.id.split("-")
    wanted = item.get_closest_marker("cuda") is not None if device == "cuda" else here
    return wanted and not item.nodeid.startswith(ELSEWHERE)


def pytest_runtest_logreport(report) -> None:
    """Say how a test went, once; a failure of its set-up or its end counts."""
    if report.failed or report.skipped or report.when == "call":
        _say({"name": report.nodeid, "outcome": report.outcome, "report": report.longreprtext[-3000:]})


def _say(line: dict) -> None:
    os.write(int(os.environ[PIPE]), json.dumps(line).encode() + b"\n")
