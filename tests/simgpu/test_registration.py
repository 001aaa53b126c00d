"""Is the device registered once, quietly, and only when asked? Each case runs in a process of its own."""

import subprocess
import sys
import textwrap

import pytest
import torch

from autograder import simgpu
from autograder.errors import SimGpuUnavailable
from autograder.simgpu import compat


def run(program):
    """(exit status, stdout, stderr) of a program; every warning is an error in it."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_importing_registers_nothing():
    """GIVEN only an import THEN torch knows no device, and nothing was loaded beside the package."""
    status, out, err = run("""
        import sys
        import autograder.simgpu
        assert "torch" not in sys.modules
        import torch
        assert not hasattr(torch, "simgpu") and not autograder.simgpu.is_enabled()
        print(torch._C._get_privateuse1_backend_name())
    """)
    assert (status, out, err) == (0, "privateuseone\n", "")


def test_normal_use_is_silent():
    """GIVEN set-up, training, an out-of-memory error and exit THEN nothing is written to stderr."""
    status, out, err = run("""
        from autograder import simgpu
        device = simgpu.enable(32 << 20)
        assert simgpu.enable() == device
        import torch
        assert torch.simgpu.memory_stats()["allocation.all.allocated"] == 0
        layer = torch.nn.Linear(4, 4).to(device)
        layer(torch.ones(2, 4, device=device)).sum().backward()
        try:
            torch.empty(1 << 30, device=device)
        except torch.OutOfMemoryError:
            print("out of memory")
    """)
    assert (status, out, err) == (0, "out of memory\n", "")


def test_a_backward_on_the_cpu_may_come_first():
    """GIVEN a backward before set-up, when autograd starts its threads THEN the device trains all the same."""
    status, out, err = run("""
        import torch
        torch.ones(2, requires_grad=True).sum().backward()
        from autograder import simgpu
        weight = torch.ones(2, device=simgpu.enable(), requires_grad=True)
        (weight * 3).sum().backward()
        print(weight.grad.tolist())
    """)
    assert (status, out, err) == (0, "[3.0, 3.0]\n", "")


def test_missing_hooks_are_named(monkeypatch):
    """GIVEN a torch without a private name we need THEN the error names it and the way out."""
    monkeypatch.setitem(compat._REQUIRED, "torch._C._acc.not_there", "does something")
    with pytest.raises(SimGpuUnavailable, match=r"_acc.not_there \(does something\).*AUTOGRADER_DEVICE=cpu"):
        compat.require()


def test_enabling_again_changes_only_the_capacity(device, capacity):
    """Is a second enable() harmless?"""
    before = torch.simgpu.mem_get_info()[1]
    assert simgpu.enable() == device and torch.simgpu.mem_get_info()[1] == before
    simgpu.enable(64 << 20)
    assert torch.simgpu.mem_get_info()[1] == 64 << 20


def test_hook_exceptions_do_not_end_the_process():
    """GIVEN hooks that raise in many backwards WHEN uncaught in the last THEN the process ends as Python does."""
    status, out, err = run("""
        from autograder import simgpu
        device = simgpu.enable()
        import torch

        def hook(grad):
            raise KeyError("mine")

        for attempt in range(50):
            x = torch.ones(3, device=device, requires_grad=True)
            y = x.exp()
            y.register_hook(hook)
            try:
                y.sum().backward()
            except KeyError:
                print(end=".")
        y = x.exp()
        y.register_hook(hook)
        y.sum().backward()
    """)
    assert status == 1 and out == "." * 50
    assert err.rstrip().endswith("KeyError: 'mine'")


def test_the_environment_sets_the_allocator_and_the_number_of_devices():
    """GIVEN both variables WHEN enabled, and enabled again with another capacity THEN the settings hold, on all devices;
    and text that PyTorch refuses is refused."""
    status, out, err = run("""
        import os
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:much"
        from autograder import errors, simgpu
        try:
            simgpu.enable()
        except errors.AllocatorSettingsError as error:
            print(error)
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True,per_process_memory_fraction:0.5"
        os.environ["AUTOGRADER_SIMGPU_DEVICES"] = "3"
        simgpu.enable(64 << 20)
        simgpu.enable(128 << 20)
        import torch
        gpu = torch.simgpu
        kept = [torch.empty(1 << 20, device=f"simgpu:{index}") for index in range(gpu.device_count())]
        print([segment["is_expandable"] for segment in gpu.memory_snapshot()])
        print([(gpu.mem_get_info(index)[1] >> 20, gpu.get_per_process_memory_fraction(index)) for index in range(3)])
    """)
    refusal, *answers = out.splitlines()
    assert refusal.startswith(
        "expected max_split_size_mb:a whole number of MiB, at least 20, found 'max_split_size_mb:much'"
    )
    assert answers == ["[True, True, True]", "[(128, 0.5), (128, 0.5), (128, 0.5)]"]
    assert (status, err) == (0, "")
