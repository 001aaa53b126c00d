"""Does the ledger always say what C++ says?"""

import gc
import random
import threading

import pytest
import torch
from torch import nn

from autograder.simgpu import storage

SHAPES = [(8,), (64, 64), (3, 5, 7), (1024,), (512, 512), (1,), (700, 300)]


class Truth:
    """Weak references of C++ to every storage made; their sizes, asked of C++, are the truth."""

    def __init__(self):
        self.references = []
        self.made = 0

    def note(self, made):
        self.made += 1
        self.references.append(made._weak_ref())

    def nbytes(self):
        total, alive = 0, []
        for reference in self.references:
            if torch.UntypedStorage._expired(reference):
                torch.UntypedStorage._free_weak_ref(reference)
                continue
            alive.append(reference)
            total += torch.UntypedStorage._new_with_weak_ptr(reference).nbytes()
        self.references = alive
        return total


@pytest.fixture
def truth(monkeypatch):
    """Notes every storage made while a test runs."""
    truth = Truth()
    make = storage.new_storage

    def noted(host):
        made = make(host)
        truth.note(made)
        return made

    from autograder.simgpu import patches, views

    for module in (storage, views, patches):
        monkeypatch.setattr(module, "new_storage", noted)
    return truth


def requested(ledger):
    ledger.drain()
    return ledger.allocator.stats()["requested_bytes.all.current"]


class Walk:
    """Random operations on a pool of tensors and graphs."""

    def __init__(self, seed, device):
        self.device, self.random = device, random.Random(seed)
        torch.manual_seed(seed)
        self.pool, self.graphs = [], []
        self.moves = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]

    def pick(self):
        return self.random.choice(self.pool)

    def step(self):
        if len(self.pool) < 3:
            self.do_make()
        try:
            self.random.choice(self.moves)()
        except (RuntimeError, IndexError, ValueError):
            pass
        for _ in range(self.random.randrange(3) if len(self.pool) < 40 else 6):
            self.pool.pop(self.random.randrange(len(self.pool)))
            if not self.pool:
                return

    def do_make(self):
        for _ in range(3):
            trains = self.random.random() < 0.4
            self.pool.append(torch.randn(self.random.choice(SHAPES), device=self.device, requires_grad=trains))

    def do_arithmetic(self):
        self.pool.append(self.pick() * 2 + 1)

    def do_view(self):
        self.pool.append(self.pick().view(-1)[::2])

    def do_in_place(self):
        with torch.no_grad():
            self.pick().mul_(0.5).add_(1)

    def do_detach(self):
        self.pool.append(self.pick().detach())

    def do_contiguous(self):
        self.pool.append(self.pick().transpose(0, -1).contiguous())

    def do_graph(self):
        tensor = self.pick()
        if tensor.requires_grad:
            self.graphs.append((tensor.sin() * tensor.exp()).sigmoid().sum())

    def do_backward(self):
        self.graphs.pop(self.random.randrange(len(self.graphs))).backward()

    def do_backward_and_keep(self):
        self.random.choice(self.graphs).backward(retain_graph=True)

    def do_drop_graph(self):
        self.graphs.pop(self.random.randrange(len(self.graphs)))

    def do_zero_grad(self):
        for tensor in self.pool:
            if tensor.is_leaf and self.random.random() < 0.5:
                tensor.grad = None

    def do_matmul(self):
        self.pool.append(self.pick() @ self.pick())

    def do_out(self):
        out = torch.empty(0, device=self.device)
        self.pool.append(torch.cat([t.detach().flatten() for t in self.random.sample(self.pool, 2)], out=out))

    def do_cycle(self):
        cycle = [self.pick().clone()]
        cycle.append(cycle)

    def do_round_trip(self):
        self.pool.append(self.pick().detach().cpu().to(self.device))

    def do_chunks(self):
        self.pool.extend(self.pick().detach().flatten().chunk(3))

    def do_resize(self):
        self.pool.append(self.pick().detach().clone().resize_(self.random.choice([1, 10, 5000])))

    def do_storage_resize(self):
        self.pick().detach().clone().untyped_storage().resize_(self.random.choice([0, 64, 100_000]))

    def do_foreach(self):
        torch._foreach_add_([t for t in self.pool if not t.requires_grad][:5], 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_differ_by_no_byte(seed, device, ledger, truth):
    """GIVEN 2,000 random operations, half of the seeds without a garbage collector THEN no discrepancy, ever."""
    if seed % 2:
        gc.disable()
    walk = Walk(seed, device)
    worst = 0
    try:
        for count in range(2000):
            walk.step()
            if count % 7 == 0:
                worst = max(worst, abs(requested(ledger) - truth.nbytes()))
    finally:
        gc.enable()
    assert worst == 0
    assert truth.made > 1500
    del walk
    gc.collect()
    assert requested(ledger) == truth.nbytes() == 0
    ledger.allocator.check_invariants()


def test_threads_differ_by_no_byte(device, ledger, truth):
    """GIVEN six threads that train THEN ledger and C++ agree at the end."""
    problems = []

    def work():
        try:
            for _ in range(50):
                layer = nn.Linear(8, 8).to(device)
                layer(torch.randn(4, 8, device=device)).sum().backward()
        except Exception as error:  # noqa: BLE001 - reported below
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not problems and truth.made > 1000
    assert requested(ledger) == truth.nbytes() == 0
    ledger.allocator.check_invariants()


def test_counters(device, ledger):
    """What does each counter count?"""
    ledger.reset_peak()
    before = ledger.counters()
    x = torch.ones(1000).to(device)
    y = x + x
    y.cpu()
    del y
    after = ledger.counters()
    assert after.allocated - before.allocated == 4096
    assert after.peak - before.peak == 8192
    assert after.allocations - before.allocations == 2
    assert (after.h2d_count - before.h2d_count, after.h2d_bytes - before.h2d_bytes) == (1, 4000)
    assert (after.d2h_count - before.d2h_count, after.d2h_bytes - before.d2h_bytes) == (1, 4000)
    assert after.syncs - before.syncs == 2
    assert after.reserved >= after.allocated
    ledger.reset_peak()
    assert ledger.counters().peak == after.allocated
    del x


def test_records_of_live_storages(device, ledger):
    """Does live() list each storage once, with its block and its tensor's memory?"""
    x = torch.ones(1000, device=device)
    view = x[10:]
    (record,) = [record for record in ledger.live() if record.storage()._cdata == x.untyped_storage()._cdata]
    assert record.nbytes == record.block.requested == 4000
    assert record.block.size == 4096 and record.block.address
    assert record.data_ptr == x.data_ptr()
    assert record.tag is None
    reference = record.reference
    del record, x
    assert reference() is not None
    del view
    assert reference() is None
    assert not ledger.live()


def test_watching(device, ledger):
    """Is the watcher called for each allocation, in the thread that makes it, and for nothing else?"""
    seen = []

    def watch(record):
        assert record.storage() is not None
        record.tag = len(seen)
        seen.append((record.nbytes, threading.get_ident()))

    ledger.watch(watch)
    x = torch.ones(1000, device=device, requires_grad=True)
    y = (x * 2)[::2].sum()
    assert [nbytes for nbytes, _ in seen] == [4000, 4000, 4]
    assert {record.tag for record in ledger.live()} == {0, 2}
    y.backward()
    assert {thread for _, thread in seen} == {threading.get_ident()}
    thread = threading.Thread(target=lambda: x.detach() + 1)
    thread.start()
    thread.join()
    assert len({thread for _, thread in seen}) == 2
    ledger.watch(None)
    count = len(seen)
    x + 1
    torch.empty(0, device=device)
    assert len(seen) == count


def test_python_references_do_not_matter(device, ledger):
    """GIVEN a tensor that only autograd holds THEN its record lives exactly as long as the graph."""
    x = torch.ones(1000, device=device, requires_grad=True)
    y = x.exp()
    storage = y.untyped_storage()._simgpu_record.reference
    z = y.sum()
    del y
    gc.collect()
    assert storage() is not None
    z.backward()
    assert storage() is None
