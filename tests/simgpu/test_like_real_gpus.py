"""What an H100 and an H200 did (tests/golden, recorded by benchmarks/on_gpu.py): does the simulated GPU do the same, byte for byte?

Recorded with PyTorch 2.11 and CUDA 13; compared here under the PyTorch that is installed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.simgpu import driver, workspaces
from autograder.units import GiB
from benchmarks.fidelity_programs import allocator_sequences, allocator_settings, training

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = {
    name: json.loads((GOLDEN / f"fidelity_nvidia-{name}_small.json").read_text())["programs"]
    for name in ("h100-80gb-hbm3", "h200")
}
SEQUENCES = json.loads((GOLDEN / "gpu_nvidia-h200_allocator.json").read_text())["sequences"]
QUANTITIES = ("allocated", "peak", "reserved")
IN_PLACE = "autograd adds two gradients in place where no Python object holds the first; here one always does"
DIFFERS = {
    "lstm/adamw/fp32": ({"peak", "reserved"}, "cuDNN's workspace of recurrent networks has no published size"),
    "lstm/adamw/fp16": ({"peak", "reserved"}, "the same"),
    "lstm/adamw/bf16": ({"peak", "reserved"}, "the same"),
    "unet/adamw/fp32": ({"peak"}, "cuDNN's workspace of a convolution: its heuristics choose it"),
    "vit/adamw/fp32": ({"peak"}, IN_PLACE),
    "vit/adamw/fp32/checkpointing": ({"peak"}, IN_PLACE),
    "gpt/adamw/bf16/checkpointing": ({"peak"}, IN_PLACE),
}
"""Which figures of which program are not the GPU's, and why."""
ORDER = [program.name for program in training.programs()]


@pytest.fixture
def like_hopper(device, monkeypatch, capacity):
    """Workspaces as an H100 or H200 takes them, and room for them."""
    for name, value in workspaces.environment_like((9, 0)).items():
        monkeypatch.setenv(name, value)
    capacity(60 * GiB)
    workspaces.enable(True)
    yield device
    workspaces.enable(False)


@pytest.mark.parametrize("program", training.programs(), ids=lambda program: program.name)
def test_a_training_program_needs_the_bytes_that_it_needed_on_real_gpus(program, like_hopper):
    if ORDER.index(program.name) > ORDER.index("lstm/adamw/fp32"):
        workspaces.for_dropout(like_hopper)  # recorded one after the other in a process, where cuDNN keeps its state
    ours = training.measure(program, like_hopper, full=False)
    differ, _ = DIFFERS.get(program.name, (set(), ""))
    for gpu, programs in RECORDED.items():
        for quantity in QUANTITIES:
            if quantity not in differ:
                assert ours[quantity] == programs[program.name][quantity], (gpu, quantity)


def test_both_gpus_were_alike():
    """GIVEN the same program on an H100 and an H200 THEN the same bytes: what is compared does not depend on which."""
    both = [RECORDED[gpu] for gpu in RECORDED]
    common = both[0].keys() & both[1].keys()
    assert len(common) > 300
    for name in common:
        assert all(both[0][name][q] == both[1][name][q] for q in QUANTITIES), name


@pytest.mark.parametrize("setting", allocator_settings.SETTINGS)
def test_random_requests_are_served_as_on_a_real_gpu(setting):
    """GIVEN 400 requests and frees, and where the driver put each segment THEN every book agrees after every one."""
    command = [sys.executable, __file__, setting]
    environment = allocator_settings.environment(f"allocator/{setting}/0")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=GOLDEN.parents[1],
        env={**os.environ, **environment, "PYTHONPATH": str(GOLDEN.parents[1])},
    )  # fmt: skip
    assert done.stdout.split() == ["same"] * len(allocator_settings.SEEDS), done.stdout + done.stderr


def _replay(setting: str) -> None:
    from autograder import simgpu

    device = simgpu.enable(capacity=80 * GiB)
    for seed in allocator_settings.SEEDS:
        recorded = SEQUENCES[f"allocator/{setting}/{seed}"]
        given = iter(recorded["addresses"])
        if setting != "expandable":  # which takes its addresses from one reserved range
            driver.Driver.reserve_addresses = lambda self, nbytes, given=given: next(given)
            driver.Driver.return_addresses = lambda self, address, nbytes: None
        ours = allocator_sequences.replay(f"allocator/{setting}/{seed}", device)
        parts = [part for part in ("rows", "failed", "segments") if ours[part] != recorded[part]]
        print(" ".join(parts) or "same")


if __name__ == "__main__":
    _replay(sys.argv[1])
