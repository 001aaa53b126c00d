"""Is everything dead gone before a recording, without the price of a full collection each time?"""

import gc

import pytest
import torch
from torch import nn

import autograder as ag
from autograder.trace import garbage

MODELS = {}


class Owner:
    """Something in a cycle with itself."""

    def __init__(self, device):
        self.me, self.data = self, torch.zeros(1000, device=device)


Owner.__module__ = "__main__"


@pytest.fixture
def full(monkeypatch, device):
    """The full collections that recordings asked for; the device begins empty."""
    if device.type == "cuda":
        pytest.skip("what is alive on CUDA is not known: each recording collects")
    gc.collect()
    asked, collect = [], gc.collect

    def counted(*generation):
        if not generation:
            asked.append(1)
        return collect(*generation)

    monkeypatch.setattr(garbage.gc, "collect", counted)
    yield asked
    MODELS.clear()


def train_step(device):
    model = nn.Linear(4, 4).to(device)
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        optimizer.zero_grad()
        model(torch.ones(2, 4, device=device)).sum().backward()
        optimizer.step()

    return step


def test_a_model_in_a_variable_of_the_notebook_costs_no_full_collection(record, device, full):
    with record():
        MODELS["mine"] = [nn.Linear(4, 4).to(device), Owner(device)]
    full.clear()
    record(lambda: None)
    assert full == []


def test_what_the_step_itself_holds_costs_none(record, device, full):
    step = train_step(device)
    record(step)
    full.clear()
    assert record(step).slope == 0
    assert full == []


def test_a_dead_cycle_costs_one_and_is_gone(record, device, full):
    """GIVEN a cycle that became old and then died WHEN a recording begins THEN its tensor is not counted."""
    record(lambda: None)
    empty = record(lambda: None).baseline
    with record():
        owner = Owner(device)
    gc.collect()
    del owner
    full.clear()
    gc.disable()
    try:
        assert record(lambda: None).baseline == empty
    finally:
        gc.enable()
    assert full == [1]


def test_a_young_dead_cycle_costs_none(record, device, full):
    record(lambda: None)
    empty = record(lambda: None).baseline
    gc.disable()
    try:
        with record():
            Owner(device)
        full.clear()
        assert record(lambda: None).baseline == empty
    finally:
        gc.enable()
    assert full == []


def test_a_model_in_a_variable_of_the_running_function_costs_none(record, device, full):
    """GIVEN a model that only a local variable holds, as in a lesson's ``measure`` THEN the walk finds it."""
    with record():
        model = nn.Linear(4, 4).to(device)
    full.clear()
    record(lambda: None)
    assert full == []
    assert model is not None


def test_looking_at_variables_keeps_none_of_them_alive(gpu):
    """GIVEN a tensor in a variable WHEN a recording began and the variable is deleted THEN the memory is free."""
    kept = torch.zeros(1000, device=gpu)
    with ag.record(device=gpu) as trace:
        del kept
    assert trace.final == trace.baseline - 4096


def test_what_the_walk_cannot_see_decides_for_the_full_collection(record, device, full):
    """GIVEN a tensor that only a graph holds THEN nobody knows whether it is dead."""
    with record():
        weight = torch.ones(10, device=device, requires_grad=True)
        hidden = (weight.exp() * 1.0).sum()
    full.clear()
    record(lambda: None)
    assert full == [1]
    assert hidden is not None


def test_the_walk_gives_up_in_a_crowd(record, device, full, monkeypatch):
    with record():
        MODELS["mine"] = [*map(str, range(1000)), torch.zeros(10, device=device)]
    monkeypatch.setattr(garbage, "_MOST_OBJECTS", 500)
    full.clear()
    record(lambda: None)
    assert full == [1]


def test_the_walk_says_nothing_about_gradients_of_results(record, device, full):
    """Reading ``.grad`` of what is no leaf would print a warning, which nbgrader scores as a failure."""
    with record():
        weight = torch.ones(4, device=device, requires_grad=True)
        MODELS["mine"] = [weight, weight * 2]
    record(lambda: None)
