"""What libraries look at, compare and print while "cuda" means the simulated GPU: does it say cuda, and work?"""

import copy

import numpy
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from autograder.simgpu.cuda_shim import cuda_means_simgpu

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def cuda(device, ledger):
    capacity = ledger.allocator.capacity
    with cuda_means_simgpu():
        yield
    torch.simgpu.set_capacity(capacity)


def test_a_storage_is_where_its_tensor_is():
    tensor = torch.ones(3, device="cuda")
    for storage in (tensor.untyped_storage(), tensor.storage(), torch.ones(3).untyped_storage().cuda()):
        assert storage.device == tensor.device == CUDA and storage.is_cuda
    assert "device=cuda:0" in repr(tensor.untyped_storage())
    assert tensor.storage().type() == "torch.cuda.FloatStorage"
    host = torch.ones(3).untyped_storage()
    assert host.device == torch.device("cpu") and not host.is_cuda


def test_storages_are_copied_and_made_where_cuda_is():
    tensor = torch.arange(3.0, device="cuda")
    copied = copy.deepcopy(tensor.untyped_storage())
    assert copied.device == CUDA and torch.empty(0, device="cuda").set_(copied).tolist() == [0, 1, 2]
    storage = tensor.untyped_storage()
    assert storage.to(device=CUDA) is storage
    assert torch.UntypedStorage(16, device="cuda").device == CUDA
    assert tensor.untyped_storage().cpu().tolist() == torch.arange(3.0).untyped_storage().tolist()


def test_the_module_of_the_device_is_torch_cuda():
    for named in ((), ("cuda",), (CUDA,), (torch.ones(1, device="cuda").device,)):
        assert torch.get_device_module(*named) is torch.cuda
    assert torch.get_device_module("cpu") is torch.cpu
    assert torch._C._get_accelerator() == torch.accelerator.current_accelerator() == torch.device("cuda")


def test_optimizers_group_parameters_under_the_device_that_they_name():
    there, here = torch.ones(2, device="cuda"), torch.ones(2)
    groups = torch.optim.Optimizer._group_tensors_by_device_and_dtype([[there, here, there]])
    assert set(groups) == {(there.device, torch.float32), (here.device, torch.float32)}
    assert len(groups[there.device, torch.float32][0][0]) == 2


def test_errors_that_name_the_device_say_cuda():
    there = torch.ones(2, 2, device="cuda")
    lstm = nn.LSTM(2, 2).cuda()
    wrong = (
        lambda: there.numpy(),
        lambda: numpy.asarray(there),
        lambda: there + torch.ones(2, 2),
        lambda: there @ torch.ones(2, 2),
        lambda: nn.functional.linear(torch.ones(2, 2), there),
        lambda: lstm(there[None], (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2))),
        lambda: there.index_put_((torch.tensor([0]),), torch.ones(2), accumulate=True),
    )
    for call in wrong:
        with pytest.raises((RuntimeError, TypeError), match="cuda:0"):
            call()
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.synchronize("cpu")
    with pytest.raises(RuntimeError, match="requires grad"):
        torch.ones(1, requires_grad=True).numpy()


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_computed_again_in_the_backward_draws_the_same_random_numbers(reentrant):
    """torch.utils.checkpoint asks torch.cuda whether there is a random state to keep."""
    given = torch.ones(1000, device="cuda", requires_grad=True)
    found = checkpoint(lambda x: nn.functional.dropout(x, 0.5), given, use_reentrant=reentrant)
    found.sum().backward()
    assert 300 < int((found == 0).sum()) < 700 and torch.equal(given.grad, found.detach())


def test_marks_for_nvtx_are_silent():
    with torch.autograd.profiler.emit_nvtx() as marks:
        assert torch.ones(2, device="cuda").sum().item() == 2
    assert marks is not None


def test_the_fft_plan_cache_is_empty_and_keeps_its_capacity():
    cache = torch.backends.cuda.cufft_plan_cache
    torch.fft.fft(torch.ones(8, device="cuda"))
    assert cache.size == 0 and cache[0].max_size == 4096
    cache[0].max_size = 10
    cache.clear()
    assert cache.max_size == 10
    cache.max_size = 4096
    with pytest.raises(RuntimeError, match="non-negative"):
        cache.max_size = -1
    with pytest.raises(RuntimeError, match="read-only"):
        cache.size = 1
