"""With device-side assertions on, does a bad index fail as on CUDA: late, at another line, and for good?"""

import pytest
import torch
import torch.nn.functional as F

from autograder import simgpu
from autograder.simgpu.device_asserts import ASSERTS

ERROR = getattr(torch, "AcceleratorError", RuntimeError)
TRIGGERED = "CUDA error: device-side assert triggered"


@pytest.fixture
def gpu(device):
    """torch.simgpu with assertions on; a working device afterwards."""
    with torch.simgpu.device_side_asserts():
        yield torch.simgpu


def rows(n):
    return torch.ones(3, 4, device="simgpu").mul(n)


def index(*values):
    return torch.tensor(values, device="simgpu")


def everywhere(value):
    return torch.full((3, 4), value, device="simgpu")


FAULTY = {
    "embedding": lambda: F.embedding(index(3), rows(1)),
    "embedding, negative": lambda: F.embedding(index(-1), rows(1)),
    "embedding with max_norm": lambda: F.embedding(index(3), rows(1), max_norm=1.0),
    "embedding_bag": lambda: F.embedding_bag(index(0, 3).view(1, 2), rows(1)),
    "index_select": lambda: rows(1).index_select(1, index(4)),
    "index": lambda: rows(1)[index(3)],
    "index_put": lambda: rows(1).index_put_((index(3),), rows(1)[0]),
    "take": lambda: rows(1).take(index(12)),
    "gather": lambda: rows(1).gather(0, everywhere(3)),
    "scatter": lambda: rows(1).scatter_(1, everywhere(4), 1.0),
    "scatter_add": lambda: rows(1).scatter_add(0, everywhere(3), rows(1)),
    "index_add": lambda: rows(1).index_add_(0, index(3), rows(1)[:1]),
    "index_copy": lambda: rows(1).index_copy(0, index(3), rows(1)[:1]),
    "index_fill": lambda: rows(1).index_fill(0, index(3), 0.0),
    "one_hot": lambda: F.one_hot(index(5), 3),
    "nll_loss": lambda: F.nll_loss(rows(1), index(0, 1, 4)),
    "nll_loss of an image": lambda: F.nll_loss(rows(1).view(1, 3, 2, 2), everywhere(3)[:1].view(1, 2, 2)),
    "cross_entropy": lambda: F.cross_entropy(rows(1), index(0, 1, 4)),
    "binary_cross_entropy": lambda: F.binary_cross_entropy(rows(2), rows(1)),
    "multinomial": lambda: torch.multinomial(-rows(1), 1),
}


@pytest.mark.parametrize("name", FAULTY)
def test_the_error_comes_when_the_host_waits(name, gpu):
    """GIVEN a bad value WHEN the kernel is launched THEN nothing happens, until the next wait, and ever after."""
    result = FAULTY[name]()
    later = result * 2 + 1
    with pytest.raises(ERROR, match=TRIGGERED):
        later.sum().item()
    assert ASSERTS.failed.endswith("failed.")
    with pytest.raises(ERROR, match=TRIGGERED):
        result.add_(1)
    gpu.reset_device()
    assert rows(2).sum().item() == 24


def test_the_words_are_cudas(gpu):
    """Does the message carry the number and the hints that a search engine knows?"""
    rows(1)[index(7)]
    with pytest.raises(ERROR) as caught:
        gpu.synchronize()
    first, link, late, hint, last = str(caught.value).splitlines()
    assert first == TRIGGERED and "`cudaErrorAssert'" in link
    assert late.startswith("CUDA kernel errors might be asynchronously reported at some other API call")
    assert hint == "For debugging consider passing CUDA_LAUNCH_BLOCKING=1"
    assert last == "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
    assert caught.value.error_code == 710


UNUSABLE = {
    "arithmetic": lambda x: x + 1,
    "in place": lambda x: x.mul_(2),
    "a foreach kernel": lambda x: torch._foreach_add_([x], 1),
    "a new tensor": lambda x: torch.ones(3, device=x.device),
    "to the host": lambda x: x.cpu(),
    "to the host, non-blocking": lambda x: x.to("cpu", non_blocking=True),
    "from the host, non-blocking": lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True),
    "item": lambda x: x[0, 0].item(),
    "print": repr,
    "matmul": lambda x: x @ x.t(),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.view(1, 1, 3, 4)] * 3),
    "synchronize": lambda x: torch.simgpu.synchronize(),
    "stream": lambda x: torch.simgpu.current_stream().synchronize(),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_nothing_works_afterwards(name, gpu):
    """GIVEN a reported assertion WHEN anything is done THEN the same error; memory can still be asked for and freed."""
    x, unused = rows(1), rows(1)
    x[index(7)]
    with pytest.raises(ERROR, match=TRIGGERED):
        gpu.synchronize()
    with pytest.raises(ERROR, match=TRIGGERED):
        UNUSABLE[name](x)
    before = gpu.memory_allocated()
    del unused
    assert gpu.memory_allocated() == before - 512


def test_kernels_after_the_assertion_do_not_run(gpu):
    """GIVEN training with one bad target WHEN nobody waits THEN the step ends, shapes are right, weights unchanged."""
    layer = torch.nn.Linear(4, 3).to("simgpu")
    optimizer = torch.optim.Adam(layer.parameters())
    before = layer.weight.detach().clone()
    loss = F.cross_entropy(layer(rows(1)), index(0, 1, 3))
    loss.backward()
    optimizer.step()
    both = torch.cat([layer(rows(1)), rows(1)[:, :3]])
    out = torch.empty(0, device="simgpu")
    torch.mul(rows(1), 2, out=out)
    assert loss.shape == () and layer.weight.grad.shape == (3, 4) and both.shape == (6, 3) and out.shape == (3, 4)
    gpu.reset_device()
    torch.testing.assert_close(layer.weight.detach(), before)


def test_where_only_the_values_tell_the_shape_the_host_waits(gpu):
    """Does nonzero() after the assertion report it?"""
    bad = rows(1)[index(7)]
    with pytest.raises(ERROR, match=TRIGGERED):
        bad.nonzero()


def test_what_the_host_can_see_raises_at_once(gpu):
    """Are wrong shapes, dimensions and plain numbers refused as always?"""
    with pytest.raises(IndexError, match="Dimension out of range"):
        rows(1).gather(3, everywhere(0))
    with pytest.raises(IndexError, match="out of bounds"):
        rows(1)[3]
    with pytest.raises(RuntimeError, match="must match"):
        rows(1) + torch.ones(5, device="simgpu")
    assert rows(1).sum().item() == 12


def test_launch_blocking_names_the_line(device, monkeypatch):
    """GIVEN CUDA_LAUNCH_BLOCKING=1, or the argument WHEN the bad kernel is launched THEN that line raises."""
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    for argument in (None, True):
        with torch.simgpu.device_side_asserts(argument):
            with pytest.raises(ERROR) as caught:
                F.embedding(index(3), rows(1))
            assert "LAUNCH_BLOCKING" not in str(caught.value) and TRIGGERED in str(caught.value)
    with torch.simgpu.device_side_asserts(launch_blocking=False):
        F.embedding(index(3), rows(1))


def test_the_block_ends_with_a_working_device_and_the_old_rules(device):
    """GIVEN an error inside the block WHEN it ends THEN the error passes on, and a bad index raises at once again."""
    with pytest.raises(ERROR, match=TRIGGERED), torch.simgpu.device_side_asserts() as asserts:
        F.embedding(index(3), rows(1)).cpu()
    assert asserts.failed.endswith("Indexing.cu: Assertion `srcIndex < srcSelectDimSize` failed.")
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(index(3), rows(1))
    assert rows(1).sum().item() == 12


def test_an_option_of_enable(device):
    """Can the whole process be told, and told back?"""
    simgpu.enable(device_asserts=True)
    try:
        rows(1)[index(7)]
        with pytest.raises(ERROR, match=TRIGGERED):
            torch.simgpu.synchronize()
        simgpu.enable()
        with pytest.raises(ERROR, match=TRIGGERED):
            rows(1)
    finally:
        torch.simgpu.reset_device()
        simgpu.enable(device_asserts=False)
    with pytest.raises(IndexError):
        rows(1)[index(7)]


def test_a_backward_on_a_lost_device_raises_and_does_not_end_the_process(gpu):
    """GIVEN a graph WHEN the device is lost before backward THEN backward raises the same error."""
    x = rows(1).requires_grad_()
    loss = x.exp().sum()
    rows(1)[index(7)]
    for operation in (gpu.synchronize, loss.backward):
        with pytest.raises(ERROR, match=TRIGGERED):
            operation()
