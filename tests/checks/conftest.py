"""The three kinds of device; the simulated one must exist before the first backward of the process."""

import functools

import pytest
import torch

import autograder as ag
from autograder import simgpu

SIMGPU = simgpu.enable()
HERE = {"cpu": torch.device("cpu"), "simgpu": SIMGPU, "cuda": torch.device("cuda")}
NEEDS_CUDA = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(params=["cpu", "simgpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def device(request):
    return HERE[request.param]


@pytest.fixture(params=["simgpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def gpu(request):
    """A device that the host copies to and waits for."""
    return HERE[request.param]


@pytest.fixture
def record(device):
    """``ag.record`` on the device under test."""
    return functools.partial(ag.record, device=device)


@pytest.fixture(autouse=True)
def silence(capfd):
    """Nothing of a recording may reach stderr: nbgrader would score the cell 0."""
    yield
    assert capfd.readouterr().err == ""
