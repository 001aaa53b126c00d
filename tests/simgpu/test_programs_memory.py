"""Does memory on the simulated GPU live and die as on CUDA?"""

import copy
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autograder.simgpu import compat
from autograder.units import MiB
from tests.simgpu.programs import GPT, token_batch


def test_views_share_and_hold_their_base(device, allocated):
    """GIVEN a hundred views WHEN the base is deleted THEN its memory lives until the last view dies."""
    before = allocated()
    base = torch.zeros(1024, device=device)
    views = [base[start:] for start in range(100)] + [base.view(32, 32).t(), base[None].expand(5, 1024)]
    assert allocated() - before == 4096
    views[3].add_(1)
    assert base.sum().item() == 1021
    del base
    assert allocated() - before == 4096
    del views
    assert allocated() == before


def test_in_place_changes_of_shape(device):
    """Do t_, unsqueeze_, resize_, set_ and assignment to elements work?"""
    x = torch.zeros(4, 4, device=device)
    x.t_().unsqueeze_(0).squeeze_()
    x[0] = 5
    assert x.sum().item() == 20
    assert x.resize_(2, 8).shape == (2, 8)
    x.set_(torch.ones(3, device=device))
    assert x.tolist() == [1, 1, 1]
    detached = x.detach()
    assert detached.data_ptr() == x.data_ptr()


def test_growth_through_out_and_resize_is_seen(device, allocated):
    """GIVEN an empty tensor WHEN an out= argument or resize_ makes it grow THEN the ledger sees it."""
    before = allocated()
    out = torch.empty(0, device=device)
    torch.add(torch.ones(1000, device=device), 1, out=out)
    assert out.sum().item() == 2000
    assert allocated() - before == 4096
    view = out[:10]
    out.resize_(100_000)
    assert out[:10].tolist() == view.tolist() == [2] * 10
    if compat.can_exchange_storages():
        assert allocated() - before == 400_384
        assert view.data_ptr() == out.data_ptr()


@pytest.mark.filterwarnings("ignore:An output with one or more elements")
def test_an_out_argument_that_could_not_grow_is_what_it_was(device):
    """GIVEN out= for a result that no memory could hold WHEN that was caught THEN the tensor can be used as before."""
    out = torch.ones(8, 8, device=device)
    out.add_(0)
    vast = torch.ones(1, device=device).expand(1 << 10, 1 << 10, 1 << 23)
    with pytest.raises(RuntimeError):
        torch.add(vast, vast, out=out)
    assert (out * 1.0).shape == (8, 8)
    assert out.sum().item() == 64


@pytest.mark.skipif(not compat.can_exchange_storages(), reason="this torch cannot resize a device storage")
@pytest.mark.parametrize("left", [0, 8])
def test_a_view_beyond_its_storage_does_no_harm(left, device, allocated):
    """GIVEN a storage made smaller under its views WHEN they are read and written THEN no memory moves, and what is in
    the storage is what it was."""
    x = torch.ones(1000, device=device)
    inside = x[: left // 4]
    x.untyped_storage().resize_(left)
    host = x.untyped_storage()._simgpu_record.host
    before = host.data_ptr(), host.nbytes(), allocated()
    assert (x + 0).sum().item() == left // 4
    x.mul_(2)
    assert (host.data_ptr(), host.nbytes(), allocated()) == before
    assert x.untyped_storage().data_ptr() == x.untyped_storage()._simgpu_record.data_ptr
    assert inside.tolist() == [1.0] * (left // 4)


@pytest.mark.skipif(not compat.can_exchange_storages(), reason="this torch cannot resize a device storage")
def test_untyped_storage_grows_and_shrinks(device, allocated):
    """Does freeing a parameter's storage, as sharded training does, give the memory back?"""
    before = allocated()
    x = torch.ones(1 << 18, device=device)
    x.untyped_storage().resize_(0)
    assert allocated() == before
    x.untyped_storage().resize_(1 << 20)
    assert allocated() - before == 1 << 20
    x.fill_(2)
    assert x[-1].item() == 2


ERRORS = {
    "matmul": lambda d: torch.randn(3, 4, device=d) @ torch.randn(3, 4, device=d),
    "cat": lambda d: torch.cat([torch.randn(2, 3, device=d), torch.randn(2, 4, device=d)]),
    "devices": lambda d: torch.randn(3, device=d) + torch.randn(3),
    "view": lambda d: torch.randn(3, device=d).view(7),
    "layer": lambda d: nn.Linear(3, 3).to(d)(torch.randn(2, 5, device=d)),
    "cholesky": lambda d: torch.linalg.cholesky(-torch.eye(3, device=d)),
    "index": lambda d: torch.randn(3, device=d)[10],
    "memory": lambda d: torch.empty(1 << 40, device=d),
}


@pytest.mark.parametrize("name", ERRORS)
def test_failed_operations_leave_nothing_behind(name, device, ledger):
    """GIVEN an operation that fails WHEN its error was handled THEN no storage is alive, without a collection."""
    before = len(ledger.live())
    gc.disable()
    try:
        for _ in range(5):
            try:
                ERRORS[name](device)
            except (RuntimeError, IndexError):
                continue
            pytest.fail("no error")
        assert len(ledger.live()) == before
    finally:
        gc.enable()


def test_different_devices_are_refused_in_cuda_words(device):
    """Does the message for mixed devices read like CUDA's?"""
    with pytest.raises(RuntimeError, match="found at least two devices, simgpu:0 and cpu!"):
        torch.randn(3, device=device) + torch.randn(3)
    with pytest.raises(RuntimeError, match="got mat2 is on cpu, different from other tensors on simgpu:0"):
        torch.randn(3, 3, device=device) @ torch.randn(3, 3)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(3, device="simgpu:1")
    assert (torch.ones(3, device=device) * torch.tensor(2.0)).tolist() == [2, 2, 2]


def test_a_kept_exception_holds_the_frame(device, allocated):
    """GIVEN an exception kept in a variable THEN the locals of its frames stay allocated until it goes."""

    def work():
        big = torch.empty(1 << 20, dtype=torch.uint8, device=device)
        raise ValueError(big.shape)

    before = allocated()
    kept = None
    try:
        work()
    except ValueError as error:
        kept = error
    assert allocated() - before == MiB
    del kept
    assert allocated() == before


def test_out_of_memory_reads_like_cuda(device, capacity, allocated):
    """GIVEN 64 MiB WHEN filled with 3 MiB tensors THEN 18 fit, and after freeing them a 40 MiB one does."""
    capacity(64 * MiB)
    kept = []
    with pytest.raises(torch.OutOfMemoryError) as failure:
        while True:
            kept.append(torch.empty(3 * MiB, dtype=torch.uint8, device=device))
    text = str(failure.value)
    assert "out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 64.00 MiB" in text
    assert "of which 4.00 MiB is free" in text
    assert len(kept) == 18
    kept.clear()
    del failure
    retries = torch.simgpu.memory_stats()["num_alloc_retries"]
    big = torch.empty(40 * MiB, dtype=torch.uint8, device=device)
    assert torch.simgpu.memory_reserved() == 40 * MiB
    assert torch.simgpu.memory_stats()["num_alloc_retries"] == retries + 1
    del big


def test_a_result_beyond_capacity_is_out_of_memory(device, capacity):
    """Is a result refused that the host itself could hardly hold?"""
    capacity(64 * MiB)
    row = torch.ones(1, 1 << 20, device=device)
    with pytest.raises(torch.OutOfMemoryError):
        row.expand(32, -1) * 2
    with pytest.raises(torch.OutOfMemoryError):
        row.expand(1 << 24, -1).contiguous()


class Training:
    """A GPT step in three phases that can be starved one at a time."""

    def __init__(self, device):
        torch.manual_seed(0)
        self.model = GPT(width=128).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.inputs, self.targets = (tensor.to(device) for tensor in token_batch())
        self.loss = None

    def forward(self):
        self.loss = F.cross_entropy(self.model(self.inputs).flatten(0, 1), self.targets.flatten())

    def backward(self):
        self.loss.backward()

    def step(self):
        self.optimizer.step()
        self.loss = None
        self.optimizer.zero_grad()

    def run(self):
        self.forward()
        self.backward()
        self.step()


@pytest.mark.parametrize("phase", ["forward", "backward", "step"])
def test_recovering_from_out_of_memory(phase, device, capacity, allocated):
    """GIVEN training WHEN one phase runs out of memory THEN it can be caught, and training goes on."""
    empty = allocated()
    training = Training(device)
    training.run()
    for name in ("forward", "backward", "step"):
        if name == phase:
            torch.simgpu.empty_cache()
            capacity(torch.simgpu.memory_reserved())
            with pytest.raises(torch.OutOfMemoryError):
                fill_the_cache(device, getattr(training, phase))
            capacity(512 * MiB)
            break
        getattr(training, name)()
    training.loss = None
    training.optimizer.zero_grad()
    training.run()
    settled = allocated()
    training.run()
    assert allocated() == settled
    del training
    gc.collect()
    assert allocated() == empty


def fill_the_cache(device, then):
    """Take every cached byte, run, and give them back."""
    hoard = []
    for size in (MiB, 64 << 10, 512):
        while True:
            try:
                hoard.append(torch.empty(size, dtype=torch.uint8, device=device))
            except torch.OutOfMemoryError:
                break
    then()


def test_deepcopy_copies_and_copy_shares(device, allocated):
    """Does deepcopy take new memory and copy none?"""
    x = torch.ones(1024, device=device)
    before = allocated()
    twin, same = copy.deepcopy(x), copy.copy(x)
    assert allocated() - before == 4096
    twin.add_(1)
    assert same.data_ptr() == x.data_ptr() and x.sum().item() == 1024


def test_operands_die_without_a_garbage_collection(device, allocated):
    """Do kernels leave no reference cycles behind?"""
    before = allocated()
    gc.disable()
    try:
        x = torch.randn(64, 64, device=device, requires_grad=True)
        F.scaled_dot_product_attention(*[x.view(1, 4, 16, 64)] * 3).sum().backward()
        torch._foreach_add_([torch.ones(4, device=device)], 1.0)
        F.conv1d(x[None], torch.randn(2, 64, 3, device=device)).sum().backward()
        x[x > 0].sum().backward()
        del x
        assert allocated() == before
    finally:
        gc.enable()
