"""How much slower is a training step on the simulated GPU than on the plain CPU?

All variants run side by side in this process, in turns, so that a busy machine slows them alike. Prints per program the
median milliseconds of a step, and its ratio to the plain CPU (recording: to the simulated GPU without it).

    python benchmarks/step_time.py [seconds per program]

simgpu      the simulated GPU
recording   the same while a trace is recorded
MemTracker  the plain CPU under torch.distributed._tools.mem_tracker.MemTracker, PyTorch's own estimator of peak memory,
            which counts tensors and has no allocator
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from autograder import simgpu
from autograder.trace import record

STEPS_A_TURN = 6


def mlp_step(device):
    """A tiny MLP with Adam: the cost of the simulation itself, 29 device operators a step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)).to(device)
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        inputs = torch.randn(128, 64).to(device)
        targets = torch.randint(0, 10, (128,)).to(device)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step


class Layer(nn.Module):
    """A transformer block of width 128 with 4 heads."""

    def __init__(self, width=128):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden):
        batch, length, width = hidden.shape
        heads = self.qkv(self.first(hidden)).view(batch, length, 3, 4, -1).transpose(1, 3)
        mixed = F.scaled_dot_product_attention(*heads.unbind(2), is_causal=True)
        hidden = hidden + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return hidden + self.mlp(self.second(hidden))


def gpt_step(device):
    """A 2-layer GPT with AdamW, 8 x 64 tokens."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(256, 128), Layer(), Layer(), nn.LayerNorm(128), nn.Linear(128, 256)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())

    def step():
        tokens = torch.randint(0, 256, (8, 64)).to(device)
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()

    return step


def plain(step, items):
    """Nothing around the steps."""
    for _ in items:
        yield from timed(step)


def recorded(step, items):
    """A trace is recorded; starting and ending it is not part of a step."""
    with record(warmup=1, timeout=None) as trace:
        for _ in trace.steps(items):
            yield from timed(step)


def tracked(step, items):
    """MemTracker wants to be told where an iteration ends."""
    tracker = MemTracker()
    for _ in items:
        with tracker:
            yield from timed(step)
        tracker.reset_mod_stats()


def timed(step):
    """Milliseconds of one step."""
    start = time.perf_counter()
    step()
    yield (time.perf_counter() - start) * 1e3


def medians(variants, seconds):
    """Median milliseconds of a step of each ``(around, step)``, a few steps of each in turns for ``seconds``."""
    times = [[] for _ in variants]
    for _, step in variants:
        for _ in range(5):
            step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for (around, step), taken in zip(variants, times):
            taken.extend(list(around(step, range(STEPS_A_TURN)))[1:])
    return [statistics.median(taken) for taken in times]


def main(seconds: float) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    device = simgpu.enable()
    print(f"torch {torch.__version__}, 1 thread, median ms of a step")
    print(f"{'':20}{'cpu':>9}{'simgpu':>9}{'ratio':>7}{'recording':>11}{'ratio':>7}{'MemTracker':>12}{'ratio':>7}")
    for name, make in (("tiny MLP, Adam", mlp_step), ("2-layer GPT, AdamW", gpt_step)):
        host, simulated = make("cpu"), make(device)
        variants = [(plain, host), (plain, simulated), (recorded, simulated), (tracked, host)]
        cpu, sim, rec, tracker = medians(variants, seconds)
        ratios = f"{cpu:9.2f}{sim:9.2f}{sim / cpu:7.2f}{rec:11.2f}{rec / sim:7.2f}{tracker:12.2f}{tracker / cpu:7.2f}"
        print(f"{name:20}{ratios}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
