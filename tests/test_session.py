"""Which device does setup() choose, and what does it say?"""

import json
import os
import subprocess
import sys

import pytest
import torch

from autograder import host, session, simgpu
from autograder.errors import SetupError, SimGpuUnavailable, UnknownDevice, UnknownLesson
from autograder.trace import default_device, devices

simgpu.enable()
MiB = 1 << 20


@pytest.fixture(autouse=True)
def undone(monkeypatch):
    """No lesson, device, variable or capacity outlives its test."""
    monkeypatch.setattr(session, "_lesson", None)
    monkeypatch.setattr(devices, "_chosen", None)
    monkeypatch.delenv("AUTOGRADER_DEVICE", raising=False)
    monkeypatch.delenv("AUTOGRADER_CAPACITY", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.simgpu.mem_get_info()[1]
    yield
    torch.simgpu.set_capacity(before)


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """Two built lessons."""
    for slug in ("00_start_here", "01_accumulated_metrics"):
        data = {"slug": slug, "title": "", "minutes": 1, "exercises": {}}
        (tmp_path / f"{slug}.json").write_text(json.dumps(data))
    monkeypatch.setattr(session, "DATA", tmp_path)


@pytest.fixture
def no_lessons(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "DATA", tmp_path)


def test_without_a_gpu_the_simulated_one_is_used(lessons, capfd, monkeypatch):
    monkeypatch.setattr(session, "available_memory", lambda: 64 << 30)
    device = session.setup("01_accumulated_metrics")
    out, err = capfd.readouterr()
    assert device == torch.device("simgpu", 0) == default_device()
    assert out == f"Simulated GPU, 2.0 GiB, torch {torch.__version__.split('+')[0]}\n"
    assert err == ""
    assert session.current_lesson() == "01_accumulated_metrics"
    assert session.device_module() is torch.simgpu
    assert torch.simgpu.mem_get_info()[1] == 2048 * MiB


def test_setup_twice_is_fine(lessons):
    assert session.setup("00_start_here") == session.setup("01_accumulated_metrics")
    assert session.current_lesson() == "01_accumulated_metrics"


def test_setup_seeds(lessons):
    session.setup("00_start_here")
    first = torch.rand(3)
    session.setup("00_start_here")
    assert torch.equal(first, torch.rand(3))


def test_a_wrong_name_gets_the_nearest(lessons):
    with pytest.raises(UnknownLesson, match="no lesson is called '1_acumulated_metrics'; did you mean '01_accum"):
        session.setup("1_acumulated_metrics")
    assert session.current_lesson() is None


def test_a_hopeless_name_gets_the_list(lessons):
    with pytest.raises(UnknownLesson, match="there are: 00_start_here, 01_accumulated_metrics"):
        session.setup("zzz")


def test_before_anything_is_built_any_name_will_do(no_lessons):
    session.setup("99_new")
    assert session.current_lesson() == "99_new"


def test_an_unknown_device(no_lessons, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_DEVICE", "tpu")
    with pytest.raises(UnknownDevice, match="AUTOGRADER_DEVICE='tpu' names no device; expected one of: cuda, simgpu"):
        session.setup("x")


def test_cuda_that_is_not_there(no_lessons, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_DEVICE", "cuda")
    with pytest.raises(UnknownDevice, match="PyTorch finds no CUDA device here; unset it or use simgpu"):
        session.setup("x")


@pytest.mark.parametrize(
    "text, nbytes",
    [("512MiB", 512 * MiB), ("1.5 GiB", 1536 * MiB), ("1048576", MiB), ("64kib", 65536), (" 2 MiB ", 2 * MiB)],
)
def test_a_capacity_by_variable(no_lessons, monkeypatch, text, nbytes):
    monkeypatch.setenv("AUTOGRADER_CAPACITY", text)
    session.setup("x")
    assert torch.simgpu.mem_get_info()[1] == nbytes


@pytest.mark.parametrize("text", ["much", "-1", "0", "12 GB", "1e9"])
def test_a_capacity_that_is_none(no_lessons, monkeypatch, text):
    monkeypatch.setenv("AUTOGRADER_CAPACITY", text)
    with pytest.raises(SetupError, match="is no size; expected bytes, or such as 512MiB"):
        session.setup("x")


def test_on_a_small_host_at_most_half_of_what_is_left_is_taken(no_lessons, monkeypatch, capsys):
    monkeypatch.setattr(session, "available_memory", lambda: 1024 * MiB)
    session.setup("x")
    assert torch.simgpu.mem_get_info()[1] == 512 * MiB
    assert "512.0 MiB" in capsys.readouterr().out


def run(source, **environment):
    """Run source in a process of its own, because the CPU ledger counts until the process ends."""
    result = subprocess.run(
        [sys.executable, "-c", source], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    return result.stdout


CPU_SESSION = """
from autograder import session
device = session.setup("00_start_here")
import torch, autograder as ag
module = session.device_module()
before = module.memory_allocated()
x = torch.zeros(1000, device=device)
print(device, module.memory_allocated() - before, module.max_memory_allocated() >= 4096)
del x
print(module.memory_allocated() - before, module.memory_stats()["allocation.all.allocated"] > 0)
trace = ag.record(lambda: torch.zeros(1000))
print(trace.source, trace.slope, module.memory_allocated() - before, len(module.memory_snapshot()))
"""


def test_the_cpu_counts_from_setup_on():
    out = run(CPU_SESSION, AUTOGRADER_DEVICE="cpu").splitlines()
    assert out[0].startswith("CPU, counted like a GPU, torch ")
    assert "asked for by AUTOGRADER_DEVICE" in out[0]
    assert "reserved memory, fragmentation, capacity and copies are not shown" in out[0]
    assert out[1:4] == ["cpu 4096 True", "0 True", "cpu 0.0 0 0"]


def test_where_the_simulated_gpu_cannot_be_the_cpu_serves(no_lessons, monkeypatch, capsys):
    def refuse(capacity=None):
        raise SimGpuUnavailable("this torch is too old.")

    monkeypatch.setattr(simgpu, "enable", refuse)
    monkeypatch.setattr("autograder.trace.meters.cpu.keep_counting", lambda: None)
    assert session.setup("x") == torch.device("cpu")
    assert "(no simulated GPU: this torch is too old; reserved memory" in capsys.readouterr().out
    assert default_device() == torch.device("cpu")
    assert session.device_module().memory_reserved() >= 0
    monkeypatch.setenv("AUTOGRADER_DEVICE", "simgpu")
    with pytest.raises(SimGpuUnavailable):
        session.setup("x")


def test_the_cpu_module_has_the_functions_that_lessons_call():
    from autograder.trace.meters import cpu_module

    assert "allocated" in cpu_module.memory_summary()
    free, total = cpu_module.mem_get_info()
    assert 0 <= free <= total
    cpu_module.empty_cache()
    cpu_module.synchronize()
    cpu_module.reset_peak_memory_stats()
    assert cpu_module.max_memory_allocated() == cpu_module.memory_allocated()


MEMINFO = "MemTotal: 8000 kB\nMemAvailable:    4000 kB\n"


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"/proc/meminfo": MEMINFO}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, "memory.max": "max\n", "memory.current": "5\n"}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, "memory.max": "3000\n", "memory.current": "1000\n"}, 2000),
        ({"/proc/meminfo": MEMINFO, "limit_in_bytes": "9223372036854771712", "usage_in_bytes": "1"}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, "limit_in_bytes": "5000", "usage_in_bytes": "9000"}, 0),
        ({}, None),
    ],
    ids=["machine", "no limit", "container v2", "no limit v1", "container v1, full", "not Linux"],
)
def test_what_the_host_has_left(files, expected):
    def read(path):
        for ending, text in files.items():
            if path.endswith(ending):
                return text
        raise FileNotFoundError(path)

    assert host.available_memory(read) == expected
