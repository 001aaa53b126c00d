"""Do sparse tensors live on the device: made, moved, multiplied, trained with, counted and freed?"""

import copy
import io

import pytest
import torch
from torch import nn

INDICES = torch.tensor([[0, 1, 1, 1], [2, 0, 2, 0]])
VALUES = torch.tensor([3.0, 4.0, 5.0, 1.0])


def coo():
    return torch.sparse_coo_tensor(INDICES, VALUES, (2, 3), check_invariants=True)


def dense(size, device):
    return torch.arange(float(torch.Size(size).numel())).reshape(size).to(device)


OPERATIONS = {
    "coalesce": lambda s, d: s.coalesce().to_dense(),
    "indices and values": lambda s, d: (s.coalesce().indices(), s.coalesce().values()),
    "to_dense": lambda s, d: s.to_dense(),
    "to_sparse": lambda s, d: s.to_dense().to_sparse().to_dense(),
    "sparse.mm": lambda s, d: torch.sparse.mm(s, dense((3, 2), d)),
    "sparse @ dense": lambda s, d: s @ dense((3, 4), d),
    "sparse @ vector": lambda s, d: s @ dense((3,), d),
    "sparse @ sparse": lambda s, d: torch.sparse.mm(s, s.t()).to_dense(),
    "add": lambda s, d: (s + s).to_dense(),
    "add in place": lambda s, d: s.clone().add_(s, alpha=2).to_dense(),
    "dense + sparse": lambda s, d: dense((2, 3), d) + s,
    "dense += sparse": lambda s, d: dense((2, 3), d).add_(s),
    "mul": lambda s, d: (s * 2).to_dense(),
    "mul in place": lambda s, d: s.coalesce().mul_(3).to_dense(),
    "times dense": lambda s, d: (s.coalesce() * dense((2, 3), d)).to_dense(),
    "transpose": lambda s, d: s.t().to_dense(),
    "sum": lambda s, d: (torch.sparse.sum(s), torch.sparse.sum(s, 0).to_dense()),
    "softmax": lambda s, d: torch.sparse.softmax(s.coalesce(), 1).to_dense(),
    "cat": lambda s, d: torch.cat([s, s]).to_dense(),
    "index_select": lambda s, d: s.index_select(0, torch.tensor([1], device=d)).to_dense(),
    "sparse_mask": lambda s, d: dense((2, 3), d).sparse_mask(s.coalesce()).to_dense(),
    "zero_": lambda s, d: s.clone().zero_().to_dense(),
    "to float64": lambda s, d: s.to(torch.float64).to_dense(),
    "csr": lambda s, d: s.to_sparse_csr().to_dense(),
    "csr @ dense": lambda s, d: s.to_sparse_csr() @ dense((3, 2), d),
    "csr + csr": lambda s, d: (s.to_sparse_csr() + s.to_sparse_csr()).to_dense(),
    "csc": lambda s, d: s.to_sparse_csc().to_dense(),
    "deepcopy": lambda s, d: copy.deepcopy(s).to_dense(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_agree_with_the_cpu(name, device):
    """GIVEN one sparse tensor, on the CPU and on the device THEN the same results."""
    expected, actual = (OPERATIONS[name](coo().to(d), d) for d in ("cpu", device))
    for one, other in zip(*[x if isinstance(x, tuple) else (x,) for x in (expected, actual)]):
        assert other.device == device
        torch.testing.assert_close(other.cpu(), one)


def test_gradients_agree_with_the_cpu(device):
    """Do both factors of sparse.mm get the CPU's gradients?"""
    gradients = []
    for where in ("cpu", device):
        left, right = coo().to(where).coalesce().requires_grad_(), dense((3, 2), where).requires_grad_()
        (torch.sparse.mm(left, right) ** 2).sum().backward()
        gradients.append((left.grad.to_dense().cpu(), right.grad.cpu()))
    torch.testing.assert_close(*gradients)


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "SGD with momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
    "SparseAdam": lambda p: torch.optim.SparseAdam(p, 0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_a_sparse_embedding(name, device):
    """GIVEN nn.Embedding(sparse=True) WHEN trained on both THEN equal weights, and a sparse gradient."""
    weights = []
    for where in ("cpu", device):
        torch.manual_seed(0)
        embedding = nn.Embedding(5, 2, sparse=True).to(where)
        optimizer = OPTIMIZERS[name](list(embedding.parameters()))
        for _ in range(3):
            optimizer.zero_grad()
            (embedding(torch.tensor([1, 3, 1], device=where)) ** 2).sum().backward()
            assert embedding.weight.grad.layout is torch.sparse_coo
            optimizer.step()
        weights.append(embedding.weight.detach().cpu())
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("to_layout", [lambda s: s, lambda s: s.to_sparse_csr()], ids=["coo", "csr"])
def test_making_moving_saving_and_printing(to_layout, device, ledger):
    """Does a sparse tensor travel both ways, in parts, counted and freed?"""
    host = to_layout(coo())
    before = ledger.counters()
    moved = host.to(device)
    after = ledger.counters()
    assert moved.device == device and moved.layout is host.layout and "simgpu:0" in repr(moved)
    assert after.h2d_count - before.h2d_count == (2 if host.layout is torch.sparse_coo else 3)
    assert after.allocated - before.allocated == 512 * (after.h2d_count - before.h2d_count)
    assert torch.equal(moved.cpu().to_dense(), host.to_dense())
    saved = io.BytesIO()
    torch.save(moved, saved)
    saved.seek(0)
    assert torch.equal(torch.load(saved).cpu().to_dense(), host.to_dense())


def test_made_on_the_device(device):
    """Do the factories put indices and values there?"""
    for made in (
        torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], device=device),
        torch.sparse_csr_tensor([0, 1, 2], [1, 0], [1.0, 2.0], device=device),
    ):
        values = made.values() if made.layout is torch.sparse_csr else made._values()
        assert made.device == values.device == device
        assert made.to_dense().tolist() == [[0, 1], [2, 0]]


def test_mixing_devices_is_refused(device):
    """GIVEN a sparse tensor there and a dense one here THEN CUDA's words."""
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.sparse.mm(coo().to(device), torch.ones(3, 2))


def test_a_sparse_gradient_grows_with_every_backward(device):
    """Do gradients of an embedding add up over several passes, also once the sum was emptied?"""
    module = torch.nn.Embedding(4, 3, sparse=True).to(device)
    index = torch.tensor([1, 2, 1], device=device)
    for _ in range(2):
        module(index).sum().backward()
    assert module.weight.grad.to_dense().sum(1).tolist() == [0, 12, 6, 0]
    module.zero_grad(set_to_none=False)
    module(index).sum().backward()
    assert module.weight.grad.to_dense().sum(1).tolist() == [0, 6, 3, 0]
