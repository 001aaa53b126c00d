"""Do planted leaks read exactly what was planted, and correct loops exactly nothing?"""

import gc

import pytest
import torch
from torch import nn
from torch.nn import functional as F


def train_step(device):
    """A correct training step with Adam, its model and its batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)).to(device)
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        x = torch.randn(128, 64, device=device)
        y = torch.zeros(128, dtype=torch.long, device=device)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, model


def test_a_correct_training_loop_has_no_slope_and_no_noise(record, device):
    step, _ = train_step(device)
    trace = record(step)
    assert trace.slope == 0.0
    assert set(trace.allocated[trace.warmup :]) == {trace.final}
    assert len(set(trace.peak[trace.warmup :])) == 1
    assert len(set(trace.allocations[trace.warmup :])) == 1
    assert trace.growth == 0


@pytest.mark.parametrize(
    "numbers, bytes_per_step", [(1, 512), (128, 512), (129, 1024), (1000, 4096)], ids=["4B", "512B", "516B", "4000B"]
)
def test_a_kept_tensor_costs_its_block(record, device, numbers, bytes_per_step):
    """What does one float kept per step cost? The smallest block: 512 bytes."""
    kept = []
    trace = record(lambda: kept.append(torch.zeros(numbers, device=device)))
    assert trace.slope == bytes_per_step
    assert trace.growth == 20 * bytes_per_step
    assert {survivor.nbytes for survivor in trace.survivors()} == {4 * numbers}
    assert {survivor.block_size for survivor in trace.survivors()} == {bytes_per_step}


def test_a_training_loop_that_keeps_its_loss_tensors(record, device):
    """GIVEN a backward that frees the graph WHEN the loss is kept THEN only its own block stays."""
    step, _ = train_step(device)
    losses = []
    assert record(lambda: losses.append(step())).slope == 512


def test_a_loss_that_is_never_sent_backward_keeps_its_graph(record, device):
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 1)).to(device)
    x = torch.randn(128, 64, device=device)
    losses = []
    trace = record(lambda: losses.append(model(x).sum()))
    activation = 128 * 256 * 4
    assert trace.slope == activation + 512


def test_a_view_keeps_its_whole_base(record, device):
    kept = []
    trace = record(lambda: kept.append(torch.zeros(64, 64, device=device)[0, :2]))
    assert trace.slope == 64 * 64 * 4


def test_a_clone_of_a_view_keeps_only_itself(record, device):
    kept = []
    trace = record(lambda: kept.append(torch.zeros(64, 64, device=device)[0, :2].clone()))
    assert trace.slope == 512


def test_a_state_that_is_never_detached(record, device):
    cell = nn.GRUCell(8, 8).to(device)
    x = torch.zeros(4, 8, device=device)
    state = [torch.zeros(4, 8, device=device)]

    def step():
        state[0] = cell(x, state[0])

    assert record(step).slope > 0

    def detached():
        state[0] = cell(x, state[0].detach())

    assert record(detached).slope == 0.0


def test_a_cycle_counts_until_the_collector_runs(record, device):
    """Does the recorder collect garbage for the learner? No: a cycle is part of what is measured."""

    class Owner:
        pass

    def step():
        owner = Owner()
        owner.me, owner.data = owner, torch.zeros(1000, device=device)

    gc.disable()
    try:
        assert record(step).slope == 4096
    finally:
        gc.enable()


def test_garbage_from_before_is_not_counted(record, device):
    """GIVEN a dead cycle that holds a tensor WHEN a recording begins THEN the cycle is gone."""

    class Owner:
        pass

    gc.disable()
    try:
        record(lambda: None)
        before = record(lambda: None).baseline
        owner = Owner()
        owner.me, owner.data = owner, torch.zeros(1000, device=device)
        del owner
        assert record(lambda: None).baseline == before
    finally:
        gc.enable()


def test_what_the_step_returns_is_dropped(record, device):
    assert record(lambda: torch.zeros(1000, device=device)).allocated.max() == record(lambda: None).baseline


def test_growing_a_tensor_in_place_is_seen(record, device):
    grown = []

    def step(i):
        if not grown:
            grown.append(torch.zeros(0, device=device))
        grown[0].resize_(1024 * (i + 1))

    trace = record(step)
    assert trace.growth == 20 * 4096
    assert trace.slope == 4096


def test_views_of_what_was_there_before_cost_nothing(record, device):
    """GIVEN batches made before the recording WHEN each step looks at one THEN nothing was allocated."""
    batches = [torch.zeros(64, 64, device=device) for _ in range(23)]
    views = []
    trace = record(lambda i: views.append(batches[i].view(-1)[:8]))
    assert trace.final == trace.baseline
    assert trace.allocations.sum() == 0


def test_a_gradient_that_is_all_zeros_takes_no_memory(record, device):
    """GIVEN an operator whose gradient PyTorch represents without memory (sgn) WHEN recorded THEN nothing breaks."""
    x = torch.ones(1024, device=device, requires_grad=True)
    trace = record(lambda: torch.autograd.grad(x.sgn().sum(), x), steps=5)
    assert trace.slope == 0
