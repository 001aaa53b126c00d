"""Does a diagnosis say what grew, where, and who holds it, and leave everything as it was?"""

import gc
from collections import deque

import pytest
import torch

from autograder.diagnosis import Holder, diagnose
from autograder.diagnosis.merge import merge_positions
from autograder.errors import RecordError


def test_kept_losses(record, device):
    """GIVEN losses kept with their graph WHEN diagnosed THEN the list and the graph are named."""
    weight = torch.ones(256, device=device, requires_grad=True)
    losses = []

    def step():
        losses.append(weight.exp().sum())

    trace = record(step, steps=10, warmup=3)
    report = diagnose(trace)
    saved, scalars = report.groups
    assert (saved.count, saved.largest, saved.nbytes, saved.steps) == (10, 1024, 10240, tuple(range(3, 13)))
    assert saved.site.source == "losses.append(weight.exp().sum())"
    assert saved.holders[0].kind == "graph"
    assert saved.holders[0].text.endswith("held by list `losses` of function `test_kept_losses`, saved by ExpBackward0")
    assert (scalars.count, scalars.nbytes) == (10, 40)
    closure = Holder("closure", "closure variable `losses` of function `step` (a list)", 10)
    local = Holder("list", "list `losses` of function `test_kept_losses`", 10)
    assert scalars.holders in ([local], [closure])
    assert report.graph_nodes >= 26
    assert "10 tensors of 1.0 KiB each, 10.0 KiB in all" in repr(report)
    assert "losses.append(weight.exp().sum())" in repr(report)


def test_what_each_step_replaces_is_not_blamed(record, device):
    """GIVEN a leak beside gradients and outputs that every step renews THEN only the leak is listed."""
    model = torch.nn.Linear(64, 64).to(device)
    kept = []

    def step():
        model.zero_grad()
        output = model(torch.ones(8, 64, device=device))
        kept.append(output.detach())
        output.sum().backward()

    report = diagnose(record(step, steps=8))
    assert [(group.count, group.largest) for group in report.groups] == [(8, 8 * 64 * 4)]


def test_a_window_beside_a_leak_is_not_blamed(record, device):
    """GIVEN a leak of 1 KiB a step beside a window of the last three larger outputs THEN the leak is the answer."""
    kept, window = [], deque(maxlen=3)

    def step():
        kept.append(torch.ones(256, device=device))
        window.append(torch.ones(512, device=device))

    report = diagnose(record(step, steps=12, warmup=4))
    assert [(group.count, group.largest) for group in report.groups] == [(12, 1024)]


def test_a_window_of_fixed_length_is_not_growth(record, device):
    """GIVEN a buffer that keeps the last four outputs THEN nothing grew, in one line."""
    window = deque(maxlen=4)
    report = diagnose(record(lambda: window.append(torch.ones(256, device=device)), steps=12, warmup=6))
    assert not report.grew and not report.groups
    assert repr(report).startswith("Nothing grew: ") and "\n" not in repr(report)


def test_a_tensor_that_grows_is_told_apart_from_more_tensors(record, device):
    """GIVEN cat in a loop THEN the report says larger, not more, and shows the one tensor."""
    holder = {"buffer": torch.zeros(1, 256, device=device)}

    def step():
        holder["buffer"] = torch.cat([holder["buffer"], torch.zeros(1, 256, device=device)])

    report = diagnose(record(step, steps=10))
    assert report.larger
    assert [group.count for group in report.groups] == [1]
    assert "larger tensors, not in more of them" in repr(report)
    more = []
    assert not diagnose(record(lambda: more.append(torch.ones(256, device=device)))).larger


def test_released_after_the_recording(record, device):
    """GIVEN holders that were locals of a function that ended THEN it shows what grew, and that it is gone."""

    def run():
        kept = []
        return record(lambda: kept.append(torch.ones(256, device=device)), steps=6)

    report = diagnose(run())
    assert [(group.count, group.holders) for group in report.groups] == [(6, [])]
    assert any("released" in note for note in report.notes)


def test_a_line_that_leaves_many_sizes_is_one_group(record, device):
    """GIVEN a leak of another size at every step THEN one group with a range, not twelve."""
    kept = []
    report = diagnose(record(lambda i: kept.append(torch.ones(128 * (i + 1), device=device)), steps=12))
    (group,) = report.groups
    assert group.count == 12 and group.each == "2.0 KiB to 7.5 KiB"


def test_memory_is_the_same_after_diagnosis(record, device):
    """Does the diagnosis hold nothing, so that all is free once the learner lets go?"""
    kept = []
    trace = record(lambda: kept.append(torch.ones(256, device=device, requires_grad=True).exp()), steps=6)
    allocated = torch.simgpu.memory_allocated()
    alive = trace.survivors()
    report = diagnose(trace)
    assert trace.survivors() == alive
    assert torch.simgpu.memory_allocated() == allocated
    kept.clear()
    gc.collect()
    assert trace.survivors() == []
    assert report.groups


def test_stopping_early_is_said(record, device):
    """GIVEN no time at all THEN what grew is still shown, and the missing holders are explained."""
    kept = []
    report = diagnose(record(lambda: kept.append(torch.ones(256, device=device)), steps=6), seconds=0)
    assert report.groups[0].count == 6
    assert any("stopped early" in note for note in report.notes)


def test_nothing_on_standard_error(record, device, capfd):
    """Would nbgrader see a warning?"""
    kept = []
    report = diagnose(record(lambda: kept.append(torch.ones(256, device=device)), steps=6))
    repr(report), report._repr_html_()
    assert capfd.readouterr().err == ""


def test_html_is_escaped_and_complete(record, device):
    """Does the table show the same facts, with the learner's source unable to break it?"""
    kept = []
    report = diagnose(record(lambda: kept.append(torch.ones(256, device=device) < 2), steps=6))
    page = report._repr_html_()
    assert "<table>" in page and "&lt; 2" in page and "< 2" not in page
    assert "6 tensors of 256 B each" in page


def test_only_a_recording_can_be_diagnosed():
    with pytest.raises(RecordError, match=r"ag\.record.*dict"):
        diagnose({})


def test_a_long_chain_is_blamed_on_the_one_tensor_that_carries_it(record, device):
    """GIVEN a state carried over many steps THEN everything its graph saved is traced to it, however deep, and not to
    the intermediate results that only the graph itself still knows."""
    weight = torch.eye(8, device=device, requires_grad=True)
    carried = {"state": torch.ones(4, 8, device=device)}

    def step():
        carried["state"] = (carried["state"] @ weight).tanh()

    report = diagnose(record(step, steps=30))
    (group,) = report.groups
    assert group.count == 30
    by_graph = [holder for holder in group.holders if holder.kind == "graph"]
    assert [holder.count for holder in by_graph] == [30]
    assert "carried" in by_graph[0].text


def test_a_small_leak_is_found_beside_large_gradients(record, device):
    """GIVEN 4 bytes kept per step, a 512-byte block each, beside 64 KiB of gradients that every step replaces THEN the
    4 bytes are the answer: growth is counted in blocks."""
    model = torch.nn.Linear(128, 128).to(device)
    history = []

    def step():
        model.zero_grad()
        loss = model(torch.ones(8, 128, device=device)).sum()
        loss.backward()
        history.append({"loss": loss.detach()})

    report = diagnose(record(step, steps=10))
    (group,) = report.groups
    assert (group.count, group.nbytes, group.occupied) == (10, 40, 5120)
    assert "10 tensors of 4 B each (in a block of 512 B), 5.0 KiB in all" in repr(report)
    (holder,) = group.holders
    assert "history[3…12]" in holder.text and holder.count == 10


def test_positions_in_one_container_are_told_as_one():
    """Are entries of one list merged, and others left alone?"""
    entries = [Holder("list", f"list `kept[{i}]`", 2) for i in (3, 4, 5)] + [Holder("list", "list `other[3]`")]
    nested = [Holder("list", "list `grid[1][2]`"), Holder("list", "list `grid[1][3]`")]
    assert merge_positions(entries + nested) == [Holder("list", "list `kept[3…5]`", 6), entries[-1], *nested]
