"""What every test may count on: the simulated GPU is there, Ctrl-C works, no earlier test still counts CPU tensors."""

import signal

import pytest
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from autograder import simgpu

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with Ctrl-C ignored
simgpu.enable()


@pytest.fixture(autouse=True)
def cpu_ledger_closed():
    """``setup()`` on the CPU counts for the rest of its process; here the next test must start without it."""
    from autograder.trace.meters.cpu import LEDGER

    yield
    while any(mode is LEDGER for mode in _get_current_dispatch_mode_stack()):
        LEDGER.__exit__(None, None, None)
