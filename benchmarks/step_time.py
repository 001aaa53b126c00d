"""How much slower is a training step on the simulated GPU than on the plain CPU?

Both run side by side in this process, in turns, so that a busy machine slows both. Prints one line per program:
median milliseconds of a step on each, and the ratio of the medians.

    python benchmarks/step_time.py [seconds per program]
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

from autograder import simgpu


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


def medians(steps, seconds):
    """Median milliseconds of each step function, run in turns for ``seconds``."""
    times = [[] for _ in steps]
    for step in steps:
        for _ in range(5):
            step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for step, taken in zip(steps, times):
            start = time.perf_counter()
            step()
            taken.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(taken) for taken in times]


def main(seconds: float) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    device = simgpu.enable()
    print(f"torch {torch.__version__}, 1 thread")
    for name, make in (("tiny MLP, Adam", mlp_step), ("2-layer GPT, AdamW", gpt_step)):
        cpu, simulated = medians([make("cpu"), make(device)], seconds)
        print(f"{name:20} cpu {cpu:7.2f} ms   simgpu {simulated:7.2f} ms   ratio {simulated / cpu:.2f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
