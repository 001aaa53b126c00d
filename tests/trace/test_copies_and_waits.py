"""Are copies between host and device, and waits for the device, counted per step?"""

import io
from contextlib import redirect_stdout

import pytest
import torch

import autograder as ag

COUNTED = ("h2d_count", "h2d_bytes", "d2h_count", "d2h_bytes", "syncs")


def per_step(device, step):
    """What one step counts, checked to be the same in all."""
    trace = ag.record(step, device=device, steps=5, warmup=1)
    rows = {tuple(getattr(sample, name) for name in COUNTED) for sample in trace.steady}
    assert len(rows) == 1
    return dict(zip(COUNTED, rows.pop(), strict=True))


def expect(counts, **nonzero):
    assert counts == {name: nonzero.get(name, 0) for name in COUNTED}


def test_a_copy_to_the_device(gpu):
    host = torch.zeros(100)
    expect(per_step(gpu, lambda: host.to(gpu)), h2d_count=1, h2d_bytes=400, syncs=1)


def test_a_copy_from_the_device(gpu):
    x = torch.zeros(100, device=gpu)
    expect(per_step(gpu, x.cpu), d2h_count=1, d2h_bytes=400, syncs=1)


def test_a_copy_that_does_not_block_is_no_wait(gpu):
    host = torch.zeros(100).pin_memory()
    expect(per_step(gpu, lambda: host.to(gpu, non_blocking=True)), h2d_count=1, h2d_bytes=400)


def test_a_copy_of_pageable_memory_waits_all_the_same(gpu):
    host = torch.zeros(20_000)
    expect(per_step(gpu, lambda: host.to(gpu, non_blocking=True)), h2d_count=1, h2d_bytes=80_000, syncs=1)


def test_up_to_64_kilobytes_of_pageable_memory_are_taken_along(gpu):
    host = torch.zeros(100)
    expect(per_step(gpu, lambda: host.to(gpu, non_blocking=True)), h2d_count=1, h2d_bytes=400)


def test_a_copy_on_the_device_is_neither(gpu):
    x = torch.zeros(100, device=gpu)
    expect(per_step(gpu, lambda: torch.empty_like(x).copy_(x)))


def test_a_tensor_made_on_the_device_is_no_copy(gpu):
    expect(per_step(gpu, lambda: torch.ones(100, device=gpu)))


def test_a_tensor_made_from_a_list_is_copied(gpu):
    expect(per_step(gpu, lambda: torch.tensor([1.0, 2.0], device=gpu)), h2d_count=1, h2d_bytes=8, syncs=1)


@pytest.mark.parametrize("read", [torch.Tensor.item, float, bool, "{:.2f}".format], ids=["item", "float", "if", "f"])
def test_reading_one_number_is_a_wait(gpu, read):
    x = torch.zeros((), device=gpu)
    expect(per_step(gpu, lambda: read(x)), syncs=1)


def test_tolist_waits_and_copies(gpu):
    x = torch.zeros(100, device=gpu)
    expect(per_step(gpu, lambda: x.tolist()), d2h_count=1, d2h_bytes=400, syncs=1)


def test_print_waits(gpu):
    x = torch.zeros(3, device=gpu)

    def step():
        with redirect_stdout(io.StringIO()):
            print(x)

    assert per_step(gpu, step)["syncs"] >= 1


def test_a_size_that_depends_on_values_waits(gpu):
    x = torch.ones(10, device=gpu)
    assert per_step(gpu, lambda: x.nonzero())["syncs"] >= 1
    assert per_step(gpu, lambda: x[x > 0])["syncs"] >= 1


def test_synchronize_is_a_wait(gpu):
    expect(per_step(gpu, lambda: torch.get_device_module(gpu).synchronize()), syncs=1)


def test_the_cpu_counts_reads_as_waits_and_no_copies():
    cpu = torch.device("cpu")
    x = torch.zeros(100)
    expect(per_step(cpu, lambda: (x.sum().item(), x.tolist(), x.cpu(), repr(x))), syncs=3)


def test_the_cpu_does_not_count_what_an_optimizer_reads():
    """Adam reads its step count, which lives on the host also where there is a GPU."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([weight])

    def step():
        weight.grad = torch.ones(3)
        optimizer.step()

    expect(per_step(torch.device("cpu"), step))


def test_patched_methods_are_put_back(record):
    before = {name: vars(torch.Tensor).get(name) for name in ("tolist", "numpy", "__repr__")}
    record(lambda: None)
    with pytest.raises(ZeroDivisionError):
        record(lambda: 1 / 0)
    assert {name: vars(torch.Tensor).get(name) for name in before} == before
