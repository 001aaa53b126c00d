"""Allocator settings of a running CUDA script: every way in which one can set them, and when they count."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from autograder.errors import AllocatorSettingsError
from autograder.simgpu.cuda_shim import cuda_means_simgpu
from autograder.units import MiB


@pytest.fixture
def cuda(device):
    """torch.cuda with an empty cache and the settings of before put back."""
    before = torch.simgpu.memory._get_allocator_settings()
    with cuda_means_simgpu(capacity=1024 * MiB):
        torch.cuda.empty_cache()
        yield torch.cuda
        torch.simgpu.memory._set_allocator_settings(f"expandable_segments:False,{before}")
        torch.cuda.empty_cache()


@pytest.mark.filterwarnings("ignore:torch.cuda._set_allocator_settings is deprecated")
@pytest.mark.parametrize(
    "apply",
    [
        lambda text: torch.cuda.memory._set_allocator_settings(text),
        lambda text: torch._C._accelerator_setAllocatorSettings(text),
        lambda text: torch.simgpu.memory._set_allocator_settings(text),
    ],
    ids=["torch.cuda.memory", "torch._C", "torch.simgpu.memory"],
)
def test_every_way_to_set_them_counts(apply, cuda):
    """Do rounding, segments and the split limit change at once, also while memory is reserved?"""
    kept = torch.empty(MiB, device="cuda")
    apply("roundup_power2_divisions:4")
    x = torch.empty(84 * MiB, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_allocated() == (4 + 96) * MiB, "84 MiB rounded to a quarter of 64 to 128"
    apply("expandable_segments:True,max_split_size_mb:40")
    y = torch.empty(84 * MiB, dtype=torch.uint8, device="cuda")
    assert [s["is_expandable"] for s in torch.cuda.memory_snapshot() if s["total_size"] >= 84 * MiB] == [False, True]
    assert torch.cuda.memory_stats()["max_split_size"] == 40 * MiB
    assert torch._C._accelerator_getAllocatorSettings() == "expandable_segments:True,max_split_size_mb:40"
    for bad in ("foo:1,bar:2", "garbage_collection_threshold:1.2", "max_split_size_mb:2", "expandable_segments:maybe"):
        with pytest.raises(ValueError) as refused:
            apply(bad)
        assert isinstance(refused.value, AllocatorSettingsError)
    assert torch.cuda.memory_stats()["max_split_size"] == 40 * MiB, "a text that is refused changes nothing"
    assert kept is not x is not y


def run(script: str, *command: str, **environment: str) -> str:
    """What a script of its own process prints."""
    done = subprocess.run(
        [sys.executable, *command, textwrap.dedent(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


SHIM = """
import os, torch
from autograder.simgpu.cuda_shim import cuda_means_simgpu
with cuda_means_simgpu():
    {body}
"""


def test_a_script_may_set_the_variable_before_its_first_tensor():
    """Does the environment count until something is on the device, and not afterwards, as on CUDA?"""
    body = """torch.cuda.is_available(), torch.cuda.memory_allocated()
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    x = torch.ones(1, device="cuda")
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "roundup_power2_divisions:4"
    y = torch.ones(21 << 20, device="cuda")
    print([s["is_expandable"] for s in torch.cuda.memory_snapshot()], torch.cuda.memory_allocated() >> 20)"""
    assert run(SHIM.format(body=body), "-c") == "[True, True] 84"


def test_settings_add_to_the_environment_s():
    """GIVEN a variable that the script sets WHEN it then gives a text THEN what the text does not name stays."""
    body = """os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True,per_process_memory_fraction:0.5"
    torch._C._accelerator_setAllocatorSettings("max_split_size_mb:40")
    x = torch.ones(1, device="cuda")
    print(torch.cuda.memory_snapshot()[0]["is_expandable"], torch.cuda.get_per_process_memory_fraction())"""
    assert run(SHIM.format(body=body), "-c") == "True 0.5"


def test_a_bad_variable_fails_the_first_tensor():
    """Is it a ValueError where CUDA would raise one: when the device is first used?"""
    body = """os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:2"
    for _ in range(2):
        try: torch.ones(1, device="cuda")
        except ValueError as error: print(type(error).__name__)
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = ""
    print(torch.ones(1, device="cuda").item())"""
    assert run(SHIM.format(body=body), "-c").split() == ["AllocatorSettingsError"] * 2 + ["1.0"]
