"""Does nothing kill the process, and does everything do as on the CPU, where a tensor has an empty dimension?

Kernels written for rows of something crash on none: PyTorch's own CPU kernels do in places. Runs are in processes of their
own, so that a crash is a failure with a name.
"""

import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autograder.simgpu import registry
from tests.simgpu import empty_kernels

pytest.importorskip("expecttest")
pytest.importorskip("hypothesis")

SHARDS = 4
MOST_DEADLY = 20
LAYERS = {
    "encoder": lambda width: nn.TransformerEncoderLayer(width, 2, 16, batch_first=True),
    "decoder": lambda width: nn.TransformerDecoderLayer(width, 2, 16, batch_first=True),
    "transformer": lambda width: nn.Transformer(width, 2, 1, 1, 16, batch_first=True),
    "attention": lambda width: nn.MultiheadAttention(width, 2, batch_first=True),
}


def differences(which, shard, shards, log):
    """What differs, by name; fails with the name of what killed the process."""
    deadly = []
    while len(deadly) < MOST_DEADLY:
        command = [
            sys.executable,
            "-m",
            "tests.simgpu.empty_samples",
            which,
            str(shard),
            str(shards),
            str(log),
            *deadly,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        side, _, name = log.read_text().partition(" ")
        assert done.returncode < 0, done.stderr[-2000:]
        assert side == "cpu", f"{name} on the device died by signal {-done.returncode}"
        deadly.append(name)
    raise AssertionError(f"more than {MOST_DEADLY} samples kill the CPU: {deadly}")


@pytest.mark.parametrize("shard", range(SHARDS))
def test_operators_with_an_empty_dimension(shard, tmp_path):
    """GIVEN PyTorch's samples with one length cut to 0 WHEN run forward and backward THEN shapes or refusals agree."""
    different = differences("operators", shard, SHARDS, tmp_path / "last")
    assert not different, "\n".join(f"{name}: {what}" for name, what in different.items())


def test_modules_with_an_empty_dimension(tmp_path):
    """The same for modules, training and in evaluation, with gradients and without."""
    different = differences("modules", 0, 1, tmp_path / "last")
    assert not different, "\n".join(f"{name}: {what}" for name, what in different.items())


def test_every_kernel_of_ours_lives_through_nothing(tmp_path):
    """GIVEN each kernel that signed in WHEN called with nothing in it THEN a result or an error, not a signal."""
    assert {name for name, _, _ in registry.KERNELS} == empty_kernels.SWEPT | empty_kernels.CALLS.keys()
    log = tmp_path / "last"
    command = [sys.executable, "-W", "ignore", "-m", "tests.simgpu.empty_kernels", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{log.read_text()}: {done.returncode} {done.stderr[-1000:]}"


@pytest.mark.parametrize("shape", [(0, 10), (2, 0)], ids=["no batch", "no tokens"])
@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("name", LAYERS)
def test_fast_paths_of_transformers(name, width, shape, device):
    """GIVEN nothing WHEN a layer evaluates without gradients THEN nothing of the right shape comes back."""
    layer = LAYERS[name](width).to(device).eval()
    x = torch.zeros(*shape, width, device=device)
    inputs = {"encoder": (x,), "attention": (x, x, x)}.get(name, (x, x))
    with torch.no_grad():
        result = layer(*inputs)
    assert (result[0] if isinstance(result, tuple) else result).shape == x.shape


def test_cuda_launches_no_block_for_no_rows(device):
    """GIVEN an empty projection WHEN split by itself THEN CUDA's own error, where the CPU's kernel would crash."""
    with pytest.raises(RuntimeError, match="invalid configuration argument"):
        torch._transform_bias_rescale_qkv(torch.zeros(0, 4, 24, device=device), torch.zeros(24, device=device), 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_attention_over_nothing(dtype, device):
    """GIVEN no queries, or no keys THEN zeros of the right shape, as on the CPU."""
    some, none = torch.ones(2, 2, 3, 8, device=device, dtype=dtype), torch.ones(2, 2, 0, 8, device=device, dtype=dtype)
    assert F.scaled_dot_product_attention(none, some, some).shape == none.shape
    assert F.scaled_dot_product_attention(some, none, none).sum().item() == 0
