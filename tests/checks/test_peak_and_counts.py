"""Do the checks of peak, reserved, allocations, copies and waits pass what is right and fail what is not?"""

import pytest
import torch

import autograder as ag
from autograder.errors import CheckFailed, RecordError

MiB = 1 << 20


def fails(rule, check, *arguments, **options):
    """The message of a check that must fail by that rule."""
    with pytest.raises(CheckFailed) as caught:
        check(*arguments, **options)
    assert caught.value.rule == rule
    assert str(caught.value).startswith(f"{rule}: allowed ")
    return str(caught.value)


def scratch(device, mebibytes):
    """A step that allocates and frees that much."""
    return lambda: torch.zeros(mebibytes * MiB // 4, device=device)


def test_peak_against_a_reference_trace(record, device):
    reference = record(scratch(device, 4))
    assert ag.check.peak(record(scratch(device, 5)), reference=reference, points=0.5) == 0.5
    message = fails("peak too high", ag.check.peak, record(scratch(device, 6)), reference=reference, exercise="e")
    assert "allowed 5.2 MiB above the start; reached 6.0 MiB" in message
    assert 'Try ag.hint("e")' in message


def test_peak_against_bytes(record, device):
    trace = record(scratch(device, 4))
    ag.check.peak(trace, reference=4 * MiB, ratio=1)
    fails("peak too high", ag.check.peak, trace, reference=4 * MiB - 1, ratio=1)


def test_peak_counts_above_its_own_start(record, device):
    """GIVEN something large that was there before THEN it is not held against the step."""
    reference = record(scratch(device, 4))
    with record(warmup=0):
        large = torch.zeros(8 * MiB, device=device)
    ag.check.peak(record(scratch(device, 4)), reference=reference, ratio=1)
    del large


def test_peak_after_the_last_step_counts(record, device):
    reference = record(scratch(device, 4))
    with record(warmup=3) as trace:
        for _ in list(trace.steps(range(10))):
            scratch(device, 6)()
    fails("peak too high", ag.check.peak, trace, reference=reference)


def holding(device, mebibytes):
    """A step that leaves one tensor of that size until the next step replaces it."""
    kept = []

    def step():
        kept[:] = [torch.zeros(mebibytes * MiB // 4, device=device)]

    return step


def test_resting_is_what_a_step_leaves(record, device):
    """GIVEN a step that keeps 3 MiB for the next THEN only that is judged, and not a high peak within the step."""
    reference = record(holding(device, 3))
    assert ag.check.resting(record(scratch(device, 9)), reference=reference, points=0.5) == 0.5
    ag.check.resting(record(holding(device, 3)), reference=3 * MiB, ratio=1)
    message = fails("rests too high", ag.check.resting, record(holding(device, 4)), reference=reference)
    assert "allowed 3.6 MiB above the start between steps; found 4.0 MiB" in message


def test_resting_counts_what_the_loop_leaves_at_its_end(record, device):
    """GIVEN a loop that pulls every item first WHEN it keeps something afterwards THEN that is judged."""
    with record(warmup=3) as trace:
        list(trace.steps(range(10)))
        kept = torch.zeros(MiB, device=device)
    fails("rests too high", ag.check.resting, trace, reference=MiB)
    del kept


def test_peak_needs_a_size(record):
    with pytest.raises(RecordError, match="expects a trace or bytes, got str"):
        ag.check.peak(record(lambda: None), reference="4 MiB")


def test_reserved_against_the_peak(gpu):
    """Growing sizes leave holes that do not fit; one size is reserved once."""
    module = torch.get_device_module(gpu)
    module.empty_cache()
    right = ag.record(scratch(gpu, 12), device=gpu)
    ag.check.reserved(right, ratio=1.5)
    module.empty_cache()
    wrong = ag.record(lambda i: torch.zeros((2 + 2 * i) * MiB, device=gpu), device=gpu)
    module.empty_cache()
    assert "times" in fails("reserved too high", ag.check.reserved, wrong, ratio=1.5)


def test_reserved_passes_on_the_cpu():
    ag.check.reserved(ag.record(scratch("cpu", 1), device="cpu"), ratio=1)


def test_allocations_per_step(record, device, capfd):
    def thrice():
        for _ in range(3):
            torch.zeros(10, device=device)

    trace = record(thrice)
    assert ag.check.allocations(trace, per_step=3, points=2) == 2
    assert "3 allocations per step, 3 allowed" in capfd.readouterr().out
    assert "counted 3" in fails("too many allocations", ag.check.allocations, trace, per_step=2)


def test_allocations_after_the_loop_count_but_for_a_few(record, device):
    def loop(items, after):
        items = list(items)
        for _ in range(after):
            torch.zeros(10, device=device)

    with record(warmup=3) as few:
        loop(few.steps(range(10)), after=8)
    ag.check.allocations(few, per_step=0)
    with record(warmup=3) as many:
        loop(many.steps(range(10)), after=9)
    fails("too many allocations", ag.check.allocations, many, per_step=0)


def test_copies_per_step(gpu):
    host, x = torch.zeros(10), torch.zeros(10, device=gpu)
    up = ag.record(lambda: host.to(gpu), device=gpu)
    down = ag.record(lambda: x.cpu(), device=gpu)
    ag.check.copies(up, h2d=1, d2h=0)
    ag.check.copies(down, h2d=0, d2h=1)
    assert "from host to device" in fails("too many copies", ag.check.copies, up, h2d=0)
    assert "from device to host" in fails("too many copies", ag.check.copies, down, h2d=0, d2h=0.5)


def test_one_copy_after_the_loop_is_fine_and_one_per_item_is_not(gpu):
    x = torch.zeros(10, device=gpu)
    with ag.record(warmup=3, device=gpu) as once:
        for _ in once.steps(range(10)):
            x + 1
        x.cpu()
    ag.check.copies(once, d2h=0)
    with ag.record(warmup=3, device=gpu) as each:
        for _ in list(each.steps(range(10))):
            x.cpu()
    fails("too many copies", ag.check.copies, each, d2h=0)


def test_copies_are_not_measured_on_the_cpu(capfd):
    x = torch.zeros(10)
    ag.check.copies(ag.record(x.cpu, device="cpu"), h2d=0, d2h=0)
    assert "nothing was measured" in capfd.readouterr().out


def test_syncs_per_step(record, device):
    x = torch.zeros((), device=device)
    often = record(lambda: x.item())
    seldom = record(lambda i: x.item() if i % 5 == 0 else None)
    ag.check.syncs(often, per_step=1)
    ag.check.syncs(seldom, per_step=0.2)
    assert "counted 1" in fails("too many syncs", ag.check.syncs, often, per_step=0.2)


@pytest.mark.parametrize(
    "name, options",
    [("peak", {"reference": 1}), ("reserved", {"ratio": 1}), ("allocations", {"per_step": 0}), ("copies", {"h2d": 0})]
    + [("syncs", {"per_step": 0})],
)
def test_a_loop_that_never_ran_passes_nothing(record, name, options):
    with record() as trace:
        pass
    with pytest.raises(CheckFailed, match="too few steps"):
        getattr(ag.check, name)(trace, **options)
