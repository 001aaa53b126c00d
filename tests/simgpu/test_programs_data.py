"""Does data get to the simulated GPU and back in all the ways programs use?"""

import copy
import io
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.simgpu.programs import GPT


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader_with_pinned_memory(workers, device, ledger):
    """GIVEN a loader that pins WHEN batches go over with non_blocking THEN nothing waits."""
    data = TensorDataset(torch.randn(64, 8), torch.randint(0, 2, (64,)))
    before = ledger.counters()
    for inputs, _ in DataLoader(data, 16, pin_memory=True, num_workers=workers):
        assert inputs.is_pinned()
        assert inputs.to(device, non_blocking=True).device == device
    after = ledger.counters()
    assert after.syncs == before.syncs
    assert after.h2d_count - before.h2d_count == 4
    assert after.h2d_bytes - before.h2d_bytes == 64 * 8 * 4


def make_device_tensor(_):
    return torch.randn(3, device="simgpu").shape


def test_forked_worker_is_refused_as_by_cuda(device):
    """GIVEN a device in use WHEN a forked worker touches it THEN the error is CUDA's, and the parent goes on."""
    keep = torch.ones(3, device=device)
    refused = pytest.raises(RuntimeError, match="Cannot re-initialize CUDA in forked subprocess.*'spawn' start method")
    with multiprocessing.get_context("fork").Pool(1) as pool, refused:
        pool.map(make_device_tensor, [0])
    assert keep.sum().item() == 3


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("place", ["cpu", None, "simgpu", "simgpu:0"])
def test_save_and_load(place, device):
    """GIVEN a checkpoint of model and optimizer WHEN loaded to each place THEN values and devices are right."""
    model = nn.Linear(4, 4).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 4, device=device)).sum().backward()
    optimizer.step()
    loaded = torch.load(saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()}), map_location=place)
    weight = loaded["model"]["weight"]
    assert weight.device.type == ("cpu" if place == "cpu" else "simgpu")
    assert torch.equal(weight.cpu(), model.weight.cpu())
    fresh = nn.Linear(4, 4).to(device)
    fresh.load_state_dict(loaded["model"])
    torch.optim.Adam(fresh.parameters()).load_state_dict(loaded["optimizer"])
    assert torch.equal(fresh.weight, model.weight)


def test_cpu_checkpoint_loads_onto_the_device(device, ledger):
    """Is a CPU file loaded to the device one copy per storage?"""
    file = saved(torch.randn(2, 2))
    before = ledger.counters().h2d_bytes
    assert torch.load(file, map_location="simgpu").device == device
    assert ledger.counters().h2d_bytes - before == 16


def test_pickle_and_deepcopy(device):
    """Do copies made by Python stay on the device?"""
    ones = torch.ones(2, device=device)
    assert pickle.loads(pickle.dumps(ones)).device == device
    model = GPT().to(device)
    assert copy.deepcopy(model).head.weight.device == device


def test_conversions(device):
    """Do tolist, print, format and the numpy refusal work?"""
    numbers = torch.arange(3, device=device)
    assert numbers.tolist() == [0, 1, 2]
    assert repr(numbers) == "tensor([0, 1, 2], device='simgpu:0')"
    assert f"{torch.tensor(1.5, device=device):.2f}" == "1.50"
    assert "device='simgpu:0', grad_fn=<" in repr(torch.ones(2, device=device, requires_grad=True) * 2)
    assert torch.from_numpy(np.arange(3)).to(device).sum().item() == 3
    for convert in (torch.Tensor.numpy, np.array):
        with pytest.raises(TypeError, match="can't convert simgpu:0 device type tensor to numpy. Use Tensor.cpu()"):
            convert(numbers)


def test_tensor_and_module_methods_named_after_the_device(device):
    """Do .simgpu() methods exist, as .cuda() does?"""
    assert torch.ones(2).simgpu().device == device
    assert nn.Linear(2, 2).simgpu().weight.device == device
    assert torch.ones(2, device=device).is_simgpu


def test_profiler(device, tmp_path, capfd):
    """Does the profiler see our operators and write its trace?"""
    layer = nn.Linear(8, 8).to(device)
    profiling = torch.profiler.profile(profile_memory=True, record_shapes=True)
    with profiling as profile, torch.profiler.record_function("my step"):
        layer(torch.randn(2, 8, device=device)).sum().backward()
    capfd.readouterr()
    names = {event.key for event in profile.key_averages()}
    assert {"my step", "aten::addmm"} <= names
    profile.export_chrome_trace(str(tmp_path / "trace.json"))
    assert (tmp_path / "trace.json").stat().st_size > 1000


def test_dispatch_modes(device):
    """Do the flop counter and fake tensors work over device tensors?"""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    layer = nn.Linear(8, 8).to(device)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(2, 8, device=device)).sum().backward()
    assert counter.get_total_flops() == 512
    with FakeTensorMode():
        assert (torch.empty(3, device=device) + 1).device.type == "simgpu"


def test_nested_jagged_tensors(device):
    """Do jagged nested tensors work?"""
    parts = [torch.ones(2, 3), torch.ones(4, 3)]
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged, device=device)
    assert (nested * 2).sum().item() == 36
