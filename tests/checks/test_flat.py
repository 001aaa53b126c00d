"""Does flat() tell a leak from a loop that merely holds memory?"""

import pytest
import torch

import autograder as ag
from autograder.errors import CheckFailed, RecordError


def block(device, numbers=128):
    return torch.zeros(numbers, device=device)


def failure(trace, **arguments):
    with pytest.raises(CheckFailed) as caught:
        ag.check.flat(trace, **arguments)
    return caught.value


def test_a_correct_loop_passes_with_one_line_and_its_points(record, device, capfd):
    trace = record(lambda: block(device))
    points = ag.check.flat(trace, points=2)
    assert type(points) is int
    assert points == 2
    assert capfd.readouterr().out == "passed: memory is flat, 0 B per step over 20 steps\n"


def test_a_leak_is_told_with_limit_actual_line_holder_and_hint(record, device):
    losses = []

    def step():
        losses.append(block(device, 1024))

    error = failure(record(step), exercise="fix_total")
    assert str(error).startswith("not flat: allowed 0 B per step; grew 4.0 KiB per step over 20 steps. Allocated at ")
    assert error.culprit.source == "return torch.zeros(numbers, device=device)"
    assert "`losses`" in error.holder
    assert str(error).endswith('Try ag.hint("fix_total").')


def test_the_smallest_leak_is_found(record, device):
    kept = []
    assert failure(record(lambda: kept.append(block(device, 1)))).rule == "not flat"


def test_a_limit_relative_to_the_leak_lets_scalars_pass(record, device):
    kept = []
    trace = record(lambda: kept.append(block(device, 1)))
    ag.check.flat(trace, per_step=512)
    ag.check.flat(trace, per_step=0.01, of=51_200)
    assert failure(trace, per_step=511).rule == "not flat"
    assert failure(trace, per_step=0.01, of=51_100).rule == "not flat"


def test_a_loop_that_pulls_everything_first_is_found_in_all(record, device):
    """GIVEN a slope of 0 WHEN memory grew after the last pull THEN it is not flat."""
    with record(warmup=3) as trace:
        kept = [block(device) for _ in list(trace.steps(range(12)))]
    assert len(kept) == 12
    assert trace.slope == 0.0
    error = failure(trace)
    assert "grew 6.0 KiB in all over 9 steps" in error.actual
    assert error.culprit is not None


def test_a_short_loop_that_pulls_everything_first_is_found(record, device):
    with record(warmup=3) as trace:
        kept = [block(device) for i in list(trace.steps(range(6))) if i >= 3]
    assert len(kept) == 3
    assert failure(trace).rule == "not flat"


def test_a_returned_scalar_is_no_leak(record, device):
    with record(warmup=3) as trace:
        for _ in trace.steps(range(12)):
            block(device)
        mean = block(device, 1)
    assert mean is not None
    assert trace.growth == 512
    ag.check.flat(trace)


def test_a_cycle_of_steps_is_no_leak(record, device):
    """GIVEN memory that is set free every fourth step WHEN the recording ends high THEN it is still flat."""
    kept = []

    def step(i):
        kept.clear() if i % 4 == 2 else kept.append(block(device, 1024))

    trace = record(step, steps=19)
    assert trace.growth > 0
    ag.check.flat(trace)


def test_a_growth_that_happens_once_and_late_is_found(record, device):
    kept = []
    trace = record(lambda i: kept.append(block(device, 10_000)) if i == 21 else None)
    assert trace.slope == 0.0
    assert failure(trace).rule == "not flat"


@pytest.mark.parametrize("pulled", [0, 3, 5])
def test_too_few_steps_cannot_be_judged(record, pulled):
    with record(warmup=3) as trace:
        for _ in trace.steps(range(pulled)):
            pass
    error = failure(trace)
    assert str(error).startswith("too few steps: expected at least 3 steps after 3 of warm-up; the trace has")
    assert f"has {pulled} in all" in str(error)


def test_a_recording_that_failed_cannot_be_judged(record):
    with pytest.raises(ZeroDivisionError), record() as trace:
        for i in trace.steps(range(20)):
            1 / (4 - i)
    assert "the trace has 4 in all and ended by ZeroDivisionError" in str(failure(trace))


def test_the_number_of_steps_can_be_demanded(record):
    trace = record(lambda: None, steps=5, warmup=2)
    assert ag.check.flat(trace, steps=7) == 1
    assert "too few steps: expected 8, warm-up included; the trace has 7 in all" in str(failure(trace, steps=8))
    error = failure(trace, steps=6, exercise="e")
    assert str(error).startswith("too many steps: expected 6, warm-up included; the trace has 7 in all. The loop must")
    assert str(error).endswith('Try ag.hint("e").')


def test_demanding_few_steps_does_not_make_them_enough(record):
    assert failure(record(lambda: None, steps=2, warmup=3), steps=5).rule == "too few steps"


def test_empty_passes_over_the_items_hide_no_leak(record, device):
    """GIVEN a leak in one pass of many WHEN the number of steps is known THEN the padding is told."""

    def padded(items):
        kept = [block(device) for _ in items]
        for _ in range(100):
            for _ in items:
                pass
        return kept

    with record(warmup=3) as trace:
        kept = padded(trace.steps(range(12)))
    assert len(kept) == 12
    assert trace.slope == 0
    assert failure(trace, steps=12).rule == "too many steps"


def test_host_memory_is_not_device_memory(gpu):
    kept = []
    ag.check.flat(ag.record(lambda: kept.append(torch.zeros(1000)), device=gpu))


def test_what_is_no_trace_is_refused():
    with pytest.raises(RecordError, match=r"check.flat\(\) expects a trace from ag.record\(...\), got list"):
        ag.check.flat([1, 2, 3])


def test_a_failing_diagnosis_does_not_hide_the_failure(record, device, monkeypatch):
    import autograder.diagnosis

    monkeypatch.setattr(autograder.diagnosis, "diagnose", lambda trace: 1 / 0)
    kept = []
    error = failure(record(lambda: kept.append(block(device))))
    assert error.rule == "not flat"
    assert error.culprit is not None
    assert error.holder is None


@pytest.mark.parametrize(("period", "pulled"), [(2, 9), (4, 9), (4, 20), (4, 31), (5, 13), (7, 20)])
def test_a_sawtooth_is_no_leak(record, device, period, pulled):
    """GIVEN a pile that is cleared after every few steps WHEN the slope's fit is fooled by it THEN it is still flat."""
    with record(warmup=3) as trace:
        pile = []
        for _ in trace.steps(range(pulled)):
            pile.append(block(device, 4096))
            if len(pile) == period:
                pile.clear()
        del pile
    ag.check.flat(trace, per_step=512)


@pytest.mark.parametrize(("period", "leak"), [(4, 512), (3, 4096), (2, 200_000)])
def test_a_leak_below_a_sawtooth_is_found(record, device, period, leak):
    """GIVEN a pile that is cleared, and a smaller one that is not, THEN the smaller one is told."""
    pile, kept = [], []

    def step(i):
        kept.append(block(device, leak // 4))
        pile.clear() if i % period == 0 else pile.append(block(device, 25_000))

    assert failure(record(step), per_step=leak / 2).rule == "not flat"


def test_a_pile_cleared_only_once_is_a_leak(record, device):
    """GIVEN growth over more than half of the recording THEN it is no cycle: nothing shows that it would be freed again."""
    pile = []
    trace = record(lambda i: pile.clear() if i == 13 else pile.append(block(device)), steps=17)
    assert failure(trace).rule == "not flat"


def test_almost_flat_earns_part_of_the_points_and_says_why(record, device, capfd):
    kept = []
    trace = record(lambda: kept.append(block(device, 1024)))
    assert ag.check.flat(trace, per_step=512, almost=(4096, 2), points=3) == 2
    said = capfd.readouterr().out
    assert said.startswith("partly solved, 2 of 3 points: not flat: allowed 512 B per step; grew 4.0 KiB per step")
    assert failure(trace, per_step=512, almost=(4095, 2), points=3).rule == "not flat"
