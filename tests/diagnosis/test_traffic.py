"""Is the busiest line named in a loop that does not grow?"""

import pytest
import torch

import autograder as ag
from autograder import simgpu
from autograder.errors import RecordError

SIMGPU = simgpu.enable()
NEEDS_CUDA = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEVICES = ["simgpu", "cpu", pytest.param("cuda", marks=NEEDS_CUDA)]


@pytest.mark.parametrize("device", DEVICES)
def test_lines_are_counted_per_step_largest_first(device):
    """GIVEN a step with one large and two small allocations THEN each line has its count and bytes per step."""

    def step():
        large = torch.ones(1 << 16, device=device)
        [torch.ones(256, device=device) for _ in range(2)]
        return large

    found = ag.traffic(ag.record(step, steps=5, device=device))
    first, second = found.lines
    assert (first.allocations, first.nbytes) == (1, 1 << 18) and "large = " in str(first.site)
    assert (second.allocations, second.nbytes) == (2, 2048)
    assert found.headline == "3 allocations per step, 258.0 KiB in all."
    assert "large = " in repr(found) and "<code>large = " in found._repr_html_()


def test_a_backward_pass_belongs_to_the_line_that_called_it():
    weight = torch.ones(64, device=SIMGPU, requires_grad=True)

    def step():
        weight.grad = None
        (weight * 2).sum().backward()

    lines = {line.site.source for line in ag.traffic(ag.record(step, steps=3)).lines}
    assert lines == {"(weight * 2).sum().backward()"}


def test_many_lines_are_cut_and_summed():
    source = "def step():\n" + "\n".join(f"    a{i} = torch.ones(128, device=device)" for i in range(10))
    space = {"torch": torch, "device": SIMGPU}
    exec(compile(source, "cell", "exec"), space)  # noqa: S102
    assert "and 2 smaller lines, 1.0 KiB in all." in repr(ag.traffic(ag.record(space["step"], steps=3)))


def test_what_happens_once_in_many_steps_is_not_shown_as_never():
    kept = []

    def step(number):
        if not number:
            kept.append(torch.ones(128, device=SIMGPU))

    assert "  <0.1 x" in repr(ag.traffic(ag.record(step, steps=30)))


def test_a_loop_that_allocates_nothing_says_so():
    assert repr(ag.traffic(ag.record(lambda: None, steps=3, device=SIMGPU))) == "0 allocations per step, 0 B in all."


def test_only_recordings_have_traffic():
    with pytest.raises(RecordError, match="expects a recording.*list"):
        ag.traffic([])
