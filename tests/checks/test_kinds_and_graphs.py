"""Do the checks of dtype, device and graph look into whatever was returned?"""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import autograder as ag
from autograder.checks.nested import tensors_in
from autograder.errors import CheckFailed, RecordError


@dataclass
class Outcome:
    loss: object
    history: list


def fails(rule, check, *arguments, **options):
    with pytest.raises(CheckFailed) as caught:
        check(*arguments, **options)
    assert caught.value.rule == rule
    return str(caught.value)


def graph(steps):
    """A scalar at the end of a chain of that many operations on a parameter."""
    x = nn.Parameter(torch.ones(()))
    for _ in range(steps):
        x = x * 2
    return x


def test_tensors_are_found_wherever_they_are_and_cycles_end():
    inside = [torch.zeros(1)]
    inside.append(inside)
    thing = {"a": inside, "b": Outcome(torch.ones(1), [torch.ones(2)]), "c": nn.Linear(1, 1)}
    paths = [path for path, _ in tensors_in(thing)]
    assert paths == ["['a'][0]", "['b'].loss", "['b'].history[0]", "['c'].weight", "['c'].bias"]


def test_dtype():
    assert ag.check.dtype([torch.zeros(1), {"x": torch.ones(1)}], torch.float32, points=2) == 2
    said = fails("wrong dtype", ag.check.dtype, [torch.zeros(1), torch.zeros(1).half()], torch.float32)
    assert "expected torch.float32; found torch.float16 at [1]" in said


def test_nothing_has_no_dtype():
    assert "found no tensor in NoneType" in fails("wrong dtype", ag.check.dtype, None, torch.float32)


def test_device(device):
    layer = nn.Linear(2, 2).to(device)
    ag.check.device(layer, device)
    ag.check.device(layer, device.type)
    other = "meta"
    assert "expected meta; found" in fails("wrong device", ag.check.device, layer, other)
    layer.mask = torch.zeros(1, device="meta")
    ag.check.device(layer, device)


def test_a_buffer_is_on_a_device_too(gpu):
    layer = nn.Linear(2, 2).to(gpu)
    layer.register_buffer("mask", torch.ones(1))
    assert "found cpu at .mask" in fails("wrong device", ag.check.device, layer, gpu)


def test_no_graph(device):
    kept = torch.ones(2, device=device)
    ag.check.no_graph([kept, 1.0, None, {"a": kept.detach()}])
    weight = nn.Parameter(kept)
    said = fails("keeps a graph", ag.check.no_graph, [1.0, (weight * 2).sum()], exercise="e")
    assert "the tensor at [1] keeps SumBackward0" in said
    assert 'Try ag.hint("e")' in said
    assert "requires_grad" in fails("keeps a graph", ag.check.no_graph, weight)


def test_graph_depth():
    assert ag.check.graph_depth(graph(4), at_most=5) == 1
    assert "4 nodes allowed; the graph at [1] is 5 nodes deep" in fails(
        "graph too deep", ag.check.graph_depth, [1.0, graph(4)], at_most=4
    )
    ag.check.graph_depth(graph(4).detach(), at_most=0)


def test_graph_depth_says_how_deep(capfd):
    ag.check.graph_depth(graph(17), at_most=18)
    assert capfd.readouterr().out == "passed: the graph is 18 nodes deep, 18 allowed\n"


def test_depth_of_measures_without_judging(capfd):
    """A parameter's own node (AccumulateGrad) counts: it is the end of the chain."""
    assert [ag.check.depth_of(x) for x in (graph(4), graph(4).detach(), nn.Parameter(torch.ones(1)))] == [5, 0, 0]
    assert capfd.readouterr().out == ""
    with pytest.raises(RecordError, match=r"depth_of\(\) expects a tensor, got list"):
        ag.check.depth_of([graph(4)])


def test_a_very_deep_graph_is_measured_without_recursion():
    assert "is 20001 nodes deep" in fails("graph too deep", ag.check.graph_depth, graph(20_000), at_most=10)


def test_branches_are_not_added_up():
    x = graph(3)
    ag.check.graph_depth(x + x * 1, at_most=6)
