"""Does a diagnosis of the peak say what was alive then, from which line, and left over from which step?"""

import pytest
import torch

from autograder.diagnosis import diagnose
from autograder.errors import RecordError

KEEPS = """
weight = torch.ones(1024, 1024, device=device, requires_grad=True)

def evaluate(items):
    for _ in items:
        out = weight.exp()
"""


def test_what_the_step_before_left_is_told_apart(record, learner):
    """GIVEN an output that lives until the next replaces it THEN half of the peak is from the step before."""
    evaluate = learner(KEEPS)["evaluate"]
    with record(warmup=2) as trace:
        evaluate(trace.steps(range(6)))
    report = diagnose(trace, at="peak")
    assert [(group.age, group.count, group.nbytes) for group in report.groups] == [(0, 1, 4 << 20), (1, 1, 4 << 20)]
    assert report.step == 2 and report.height == 8 << 20 and report.from_before == 4 << 20
    assert all(group.site.line == 6 for group in report.groups)
    assert "Highest in step 2: 8.0 MiB above the start" in repr(report)
    assert "4.0 MiB of it was left from before that step" in repr(report)
    assert "made in the step before at <learner>, line 6" in repr(report)
    assert "<td" in report._repr_html_() and "in the step before" in report._repr_html_()


def test_what_one_step_makes_by_itself(record, device):
    """GIVEN steps that let go of everything THEN nothing is from before, and the lines are told apart."""

    def step():
        first = torch.ones(1024, 256, device=device)
        second = torch.ones(1024, 512, device=device)
        del first, second

    report = diagnose(record(step, steps=5), at="peak")
    assert [(group.age, group.nbytes) for group in report.groups] == [(0, 2 << 20), (0, 1 << 20)]
    assert [group.site.source.split(" ")[0] for group in report.groups] == ["second", "first"]
    assert report.headline.endswith("Nearly all of it was made in that step.")


def test_a_leak_is_from_earlier_steps(record, device):
    """GIVEN a list that grows THEN the peak is in the last step, and most of it is older."""
    kept = []
    report = diagnose(record(lambda: kept.append(torch.ones(1024, 256, device=device)), steps=5), at="peak")
    assert report.step == 7
    assert [(group.age, group.count) for group in report.groups] == [(2, 6), (0, 1), (1, 1)]


def test_the_highest_moment_may_come_after_the_loop(record, device):
    with record(warmup=2) as trace:
        for _ in trace.steps(range(5)):
            torch.ones(1024, device=device)
        late = torch.ones(1024, 256, device=device)
    report = diagnose(trace, at="peak")
    assert report.step is None and "after the last step" in report.headline
    assert report.groups[0].nbytes == late.nbytes


def test_freed_memory_from_before_the_recording_is_not_counted(record, device):
    """GIVEN a tensor made before and freed in the loop THEN the moment is still found among the recording's own."""
    old = [torch.ones(1024, 1024, device=device)]

    def step(number):
        if number == 4:
            old.clear()
        torch.ones(1024, 256 if number == 3 else 128, device=device)

    report = diagnose(record(step, steps=5), at="peak")
    assert (report.step, [group.nbytes for group in report.groups]) == (3, [1 << 20])


def test_another_moment_is_refused(record, device):
    with pytest.raises(RecordError, match='expects "end" or "peak", got'):
        diagnose(record(lambda: None, steps=2), at="noon")
