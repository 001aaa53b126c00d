"""What the tests of the plots share."""

import pytest

from autograder import simgpu
from autograder.plots import prediction
from tests.plots.traces import make_trace

simgpu.enable()  # before the first backward of the process


@pytest.fixture
def leak():
    """4 MiB at first, 1 MiB more at each of 13 steps; peak 1 MiB above, reserved in even MiB."""
    mib = 1 << 20
    allocated = [(4 + i) * mib for i in range(13)]
    return make_trace(allocated, [a + mib for a in allocated], [(a // mib + 3) // 2 * 2 * mib for a in allocated])


@pytest.fixture
def flat():
    return make_trace([3 << 20] * 13, [5 << 20] * 13, [6 << 20] * 13)


@pytest.fixture(autouse=True)
def no_earlier_prediction(monkeypatch):
    monkeypatch.setattr(prediction, "_made", {})
