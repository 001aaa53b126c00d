"""Do tensors without a storage of their own, made for the device that a script sees, work, and never end the process?"""

import ctypes
import inspect
import json
import subprocess
import sys

import pytest
import torch

from autograder.errors import SimGpuUnavailable
from autograder.simgpu.cuda_shim import cuda_means_simgpu, device_guard
from tests.simgpu.wrapper_programs import PROGRAMS


@pytest.fixture(scope="module")
def results():
    command = [sys.executable, "-m", "tests.simgpu.wrapper_programs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    return lines, f"status {done.returncode}, last {done.stdout[-60:]!r}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_on_cuda_what_it_gives_on_the_cpu(results, name):
    lines, ending = results
    assert name in lines and lines[name].startswith("["), ending
    there = lines[name].replace('"cuda"', '"cpu"').replace("true", "X").replace("false", "X")
    on_cpu, on_cuda = json.loads(there.replace("X", "0"))
    assert on_cuda == on_cpu
    if '"cpu"' in lines[name]:
        assert '"cuda"' in lines[name], "it says where it is as a script expects it"


def test_every_constructor_of_torch_that_takes_a_device_is_known():
    """Would a new way to make a tensor without storage for a device be noticed?"""
    assert {name for name in dir(torch.Tensor) if name.startswith("_make_")} == {
        "_make_subclass",
        "_make_wrapper_subclass",
    }


def test_what_asks_cpp_for_cuda_ends_in_no_abort(device):
    """A subclass with CUDA's keys that slipped past every constructor still finds a device guard."""
    with cuda_means_simgpu():
        assert torch.tensor([1.0], device="cuda").device.type == "cuda"
        assert torch.ones(1, device="cuda").new_tensor([2.0]).item() == 2
        assert torch.Stream(device="cuda").device_index == 0


def test_the_guard_is_put_back(device):
    before = device_guard._registry()[device_guard._CUDA]
    with cuda_means_simgpu():
        assert device_guard._registry()[device_guard._CUDA] not in (before, None)
    assert device_guard._registry()[device_guard._CUDA] == before


def test_a_torch_without_the_registry_is_refused_in_one_sentence(device, monkeypatch):
    def absent(path):
        raise OSError("not there")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(SimGpuUnavailable, match="does not show its registry of device guards"), cuda_means_simgpu():
        pass


def test_signatures_are_those_that_the_compiler_compares(device):
    """torch._dynamo compares signatures of what it replaces: is ours as unreadable as torch's own?"""
    with cuda_means_simgpu(), pytest.raises(ValueError):
        inspect.signature(torch.Tensor._make_wrapper_subclass)
