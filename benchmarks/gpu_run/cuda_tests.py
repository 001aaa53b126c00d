"""Part 3: the allocator's sequences of requests, recorded, then every test marked ``cuda``, by pytest.

On another device, for rehearsal, the same tests' cases for that device.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.fidelity_programs import allocator_settings
from benchmarks.gpu_run.opened import opened

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = ("tests/lessons/",)
"""Tests left out: the part "verdicts" runs the same fixtures, trial by trial."""


def items(device: str) -> list[str]:
    sequences = [] if device == "cpu" else allocator_settings.items()
    try:
        import pytest  # noqa: F401 - only whether it is there
    except ImportError:
        return sequences
    return sequences + _tests(device)


def environment(item: str) -> dict[str, str]:
    """The allocator reads its settings when its process starts."""
    return allocator_settings.environment(item) if item.startswith("allocator/") else {}


def _tests(device: str) -> list[str]:
    import pytest

    collected = _Collected(device)
    pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", str(ROOT / "tests")], plugins=[collected])
    return collected.ids


class _Collected:
    """A pytest plugin that keeps the names of the cases wanted on a device."""

    def __init__(self, device: str) -> None:
        self.device, self.ids = device, []

    def pytest_collection_modifyitems(self, items) -> None:
        files = {item.path for item in items if item.get_closest_marker("cuda")}
        for item in items:
            marked = item.get_closest_marker("cuda") is not None
            case = getattr(item, "callspec", None)
            here = case is not None and self.device in case.id.split("-") and item.path in files
            wanted = marked if self.device == "cuda" else here
            if wanted and not item.nodeid.startswith(ELSEWHERE):
                self.ids.append(item.nodeid)


class _Outcome:
    """A pytest plugin that keeps how one test went."""

    def __init__(self) -> None:
        self.words, self.report = "did not run", ""

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed or report.skipped or report.when == "call":
            self.words = f"{report.outcome} in {report.when}" if report.failed else report.outcome
            self.report = report.longreprtext[-3000:] if report.failed else ""


def run(item: str, device: str):
    if item.startswith("allocator/"):
        from benchmarks.fidelity_programs import allocator_sequences

        yield item, allocator_sequences.replay(item, opened(device))
        return
    import pytest

    outcome = _Outcome()
    pytest.main(["-q", "-p", "no:cacheprovider", str(ROOT / item)], plugins=[outcome])
    yield item, {"outcome": outcome.words, "report": outcome.report}
    if outcome.words.startswith(("failed", "did not run")):
        raise AssertionError(outcome.report[-500:] or outcome.words)
