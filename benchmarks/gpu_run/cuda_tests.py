"""Every test marked ``cuda``, a file at a time, by a pytest of its own, without the simulated GPU.

On another device, for rehearsal, the same tests' cases for that device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu_run import chosen_tests

ROOT = Path(__file__).resolve().parents[2]


def items(device: str) -> list[str]:
    """The files with tests for this device. Raises ImportError where pytest is missing."""
    import pytest  # noqa: F401 - to say so where it is missing

    return sorted({found["file"] for found in _pytest(device, "--collect-only", "tests") if "file" in found})


def run(item: str, device: str) -> Iterator[tuple[str, dict]]:
    """Run a file's tests; (name, {"outcome", "report"}) as each ends. Raises AssertionError naming those that failed."""
    failed, status = [], "nothing"
    for found in _pytest(device, item):
        if "name" in found:
            failed += [found["name"]] if found["outcome"] == "failed" else []
            yield found["name"], {"outcome": found["outcome"], "report": found["report"]}
        status = found.get("status", status)
    if failed or status != 0:
        raise AssertionError(f"{len(failed)} failed: {', '.join(failed)}; pytest ended with {status}")


def _pytest(device: str, *arguments: str) -> Iterator[dict]:
    """What the plugin says, line by line; at last ``{"status": ...}``."""
    reader, writer = os.pipe()
    plugin = ["-p", chosen_tests.__name__, "-p", "no:cacheprovider"]
    environment = {**os.environ, chosen_tests.DEVICE: device, chosen_tests.PIPE: str(writer)}
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sys.stderr, pass_fds=(writer,))
    os.close(writer)
    with open(reader, encoding="utf-8") as lines:
        yield from map(json.loads, lines)
    yield {"status": process.wait()}
