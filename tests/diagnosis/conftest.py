"""Both devices that need no hardware; the simulated one must exist before the first backward of the process."""

import functools
import gc

import pytest
import torch

import autograder as ag
from autograder import simgpu

SIMGPU = simgpu.enable()


@pytest.fixture(params=["cpu", "simgpu"])
def device(request):
    return SIMGPU if request.param == "simgpu" else torch.device("cpu")


@pytest.fixture
def learner(device):
    """Run source as a learner's notebook would: in a namespace of its own, by the name of ``__main__``."""
    namespace = {"__name__": "__main__", "torch": torch, "nn": torch.nn, "device": device}

    def run(source: str) -> dict:
        exec(compile(source, "<learner>", "exec"), namespace)  # noqa: S102 - as a notebook would
        return namespace

    return run


@pytest.fixture
def record(device):
    """``ag.record`` on the device under test."""
    return functools.partial(ag.record, device=device)


@pytest.fixture
def small_heap():
    """Hide what was there before the test from the collector: each pass over the heap gets a hundred times shorter."""
    gc.freeze()
    yield
    gc.unfreeze()
