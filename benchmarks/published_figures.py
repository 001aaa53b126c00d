"""Figures that people published of real GPUs, beside what the simulated GPU gives for the same program.

``python benchmarks/published_figures.py`` prints the table; ``tests/benchmarks/test_published_figures.py`` holds each line. Only
figures that match to the byte, or to the digits that were printed, are here. Programs that would need more memory than
a laptop has only allocate: nothing touches the host's pages then.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from autograder import simgpu
from autograder.simgpu import workspaces

MiB = 1 << 20


class Figure(NamedTuple):
    """One published program: what was printed, where, on what, and how to measure it here.

    ``program(device)`` returns the same figures in the same order, in ``unit``.
    """

    name: str
    source: str
    gpu: str
    torch: str
    printed: tuple[float, ...]
    unit: str
    program: Callable[[torch.device], tuple[float, ...]]


def _memory(device):
    """torch.cuda or torch.simgpu."""
    return torch.get_device_module(device)


def two_layers(device) -> tuple[int, int]:
    """Two linear layers without bias: before and after backward."""
    model = nn.Sequential(nn.Linear(1024, 1024, bias=False), nn.Linear(1024, 1024, bias=False)).to(device)
    x = torch.rand(4, 256, 1024).to(device)
    y = model(x).sum()
    before = _memory(device).memory_allocated()
    y.backward()
    return before, _memory(device).memory_allocated()


def logits(device) -> tuple[float]:
    """Logits of a language model, the best word of each place, and the words themselves."""
    x = torch.empty(8, 512, 30522, device=device)
    best = torch.empty(8, 512, dtype=torch.int64, device=device)  # x.argmax(dim=-1)
    words = torch.randint(0, 30522, (8, 512), device=device)
    assert x.numel() and best.numel() and words.numel()
    return (_memory(device).memory_allocated() / MiB,)


def one_workspace(device) -> tuple[int]:
    """What a linear layer of one weight leaves behind once it is gone: the workspace of cuBLAS."""
    on_simgpu = torch.device(device).type == "simgpu"
    workspaces.enable(True) if on_simgpu else None
    try:
        nn.Linear(1, 1, device=device)(torch.randn(1, 1, device=device))
        gc.collect()
        return (_memory(device).memory_allocated(),)
    finally:
        workspaces.enable(False) if on_simgpu else None


def smallest_segment(device) -> tuple[float]:
    """The cache behind one small tensor."""
    x = torch.tensor([[1.0, 2, 3], [4, 5, 6]]).to(device)
    return (_memory(device).max_memory_reserved() / MiB + 0 * x.dim(),)


def bert_large(device) -> tuple[int]:
    """What BERT-large with a classifier adds to what the process occupied after a first small tensor, in whole MB."""
    torch.ones((1, 1)).to(device)
    before = _memory(device).memory_reserved()
    width, inner = 1024, 4096
    shapes = [(30522, width), (512, width), (2, width), (width,), (width,)]
    for _ in range(24):
        shapes += [(width, width), (width,)] * 4 + [(width,)] * 2
        shapes += [(inner, width), (inner,), (width, inner), (width,), (width,), (width,)]
    shapes += [(width, width), (width,), (2, width), (2,)]
    kept = [torch.empty(shape, device=device) for shape in shapes]
    kept.append(torch.empty(1, 512, dtype=torch.int64, device=device))
    return ((_memory(device).memory_reserved() - before) // MiB,)


def four_wide_layers(device) -> tuple[float]:
    """The parameters of four very wide layers, in units of 10**9 bytes."""
    widths = (3000, 10000, 50000, 20000, 1234)
    kept = [
        torch.empty(shape, device=device)
        for inputs, outputs in itertools.pairwise(widths)
        for shape in ((outputs, inputs), (outputs,))
    ]
    return (_memory(device).memory_allocated() / 1e9 + 0 * len(kept),)


def softmax(device) -> tuple[int, ...]:
    """Softmax of attention scores and its backward: allocated after each step, and the peak, at a 32nd of the printed
    batch (and so of the bytes, but for the 512 of the mean and its gradient)."""
    x = torch.rand(160, 2, 384, 384, dtype=torch.bfloat16, device=device, requires_grad=True)
    seen = [_memory(device).memory_allocated()]
    y = torch.nn.functional.softmax(x, dim=-1)
    loss = torch.mean(y)
    seen.append(_memory(device).memory_allocated() - 512)
    loss.backward()
    seen.append(_memory(device).memory_allocated() - 512)
    seen.append(_memory(device).max_memory_allocated() - 1024)
    return tuple(32 * nbytes + more for nbytes, more in zip(seen, (0, 512, 512, 1024)))


_ISSUE = "https://github.com/pytorch/pytorch/issues/"
FIGURES = [
    Figure("two layers, before and after backward", f"{_ISSUE}74443", "not said", "not said", (16_777_728, 20_972_032), "B", two_layers),
    Figure("softmax: input, after forward, after backward, peak", f"{_ISSUE}72450", "not said", "nightly of March 2022", (3_019_898_880, 6_039_798_272, 9_059_697_152, 15_099_495_424), "B", softmax),
    Figure("a workspace of cuBLAS", f"{_ISSUE}95668", "A10G", "2.0.0.dev20230227", (8_519_680,), "B", one_workspace),
    Figure("the cache behind a small tensor", f"{_ISSUE}28394", "Titan V", "1.3", (2.0,), "MB", smallest_segment),
    Figure("parameters of four wide layers", f"{_ISSUE}119607", "not said", "2.2.0", (6.219729408,), "GB", four_wide_layers),
    Figure("logits, best words, words", "https://github.com/Lightning-AI/torchmetrics/issues/1738", "Colab's", "not said", (476.96875,), "MiB", logits),
    Figure("BERT-large: 2631 MB less the 1343 before it", "https://huggingface.co/docs/transformers/model_memory_anatomy", "not said", "not said", (1288,), "MB", bert_large),
]  # fmt: skip


def measured(figure: Figure) -> tuple[float, ...]:
    """The figures of a program here, on a device with nothing on it and 40 GiB."""
    simgpu.enable()
    before = torch.simgpu.mem_get_info()[1]
    gc.collect()
    torch.simgpu.empty_cache()
    torch.simgpu.set_capacity(40 << 30)
    torch.simgpu.reset_peak_memory_stats()
    try:
        return figure.program(torch.device("simgpu", 0))
    finally:
        gc.collect()
        torch.simgpu.empty_cache()
        torch.simgpu.set_capacity(before)


def main() -> int:
    """Print every figure beside ours; the exit status says whether all agree."""
    agree = True
    for figure in FIGURES:
        ours = measured(figure)
        agree = agree and ours == figure.printed
        print(f"{figure.name}\n  {figure.source} ({figure.gpu}, torch {figure.torch})")
        print(
            f"  printed {figure.printed} {figure.unit}\n  here    {ours}  {'equal' if ours == figure.printed else 'DIFFERS'}"
        )
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
