"""Do unmodified CUDA calls work while "cuda" means the simulated GPU, and is everything put back afterwards?"""

import copy
import io
import types

import pytest
import torch
from torch import nn

from autograder.errors import NotSimulated, SetupError
from autograder.simgpu import generator as simgpu_generator
from autograder.simgpu.cuda_shim import cuda_means_simgpu, is_installed
from autograder.simgpu.cuda_shim.table import replaced
from autograder.simgpu.eager import NOT_COMPILED
from autograder.units import MiB

CUDA = torch.device("cuda", 0)
SPELLINGS = ("cuda", "cuda:0", torch.device("cuda"), CUDA)
FACTORIES = {
    "arange": (4,), "as_tensor": ([1.0, 2.0],), "asarray": ([1, 2],), "empty": (2,), "empty_strided": ((2,), (1,)),
    "eye": (3,), "full": ((2,), 3.0), "hann_window": (4,), "linspace": (0, 1, 4), "logspace": (0, 1, 4),
    "normal": (0.0, 1.0, (2,)), "ones": (2,), "rand": (2,), "randint": (0, 4, (3,)), "randn": (2,), "randperm": (4,),
    "scalar_tensor": (2.0,), "sparse_coo_tensor": ([[0, 1]], [1.0, 2.0]), "tensor": ([1, 2],), "tril_indices": (3, 3), "triu_indices": (3, 3), "zeros": (2,),
}  # fmt: skip


@pytest.fixture
def cuda(device, ledger):
    capacity = ledger.allocator.capacity
    with cuda_means_simgpu():
        yield
    torch.simgpu.set_capacity(capacity)


def _namespaces():
    owners = [
        torch,
        torch.Tensor,
        torch.cuda,
        torch.cuda.memory,
        torch.cuda.random,
        torch.cuda.streams,
        torch.cuda.nvtx,
    ]
    owners += [
        torch.accelerator,
        torch.backends.cuda,
        torch.backends.cudnn,
        torch.nn.Module,
        torch.nn.parameter.UninitializedTensorMixin,
        torch.storage._StorageBase,
    ]
    owners += [
        torch._subclasses.fake_tensor.FakeTensor,
        torch._C.TensorBase,
        simgpu_generator.Generator,
        torch.amp,
        torch.autocast,
        torch.serialization,
        torch.optim.Optimizer,
        torch.profiler._KinetoProfile,
        torch.UntypedStorage,
        torch.autograd.profiler.emit_nvtx,
        torch.backends.cuda.cuFFTPlanCache,
        torch._C,
    ]
    return {(owner.__name__, name): value for owner in owners for name, value in vars(owner).items()}


@pytest.mark.parametrize("name", FACTORIES)
def test_every_factory_understands_cuda(cuda, name):
    for spelling in SPELLINGS:
        assert getattr(torch, name)(*FACTORIES[name], device=spelling).device == CUDA


def test_moving_is_a_copy_once_and_nothing_the_second_time(cuda):
    host = torch.ones(3)
    for move in (lambda t: t.cuda(), lambda t: t.to("cuda"), lambda t: t.to(CUDA, torch.float32), lambda t: t.cuda(0)):
        there = move(host)
        assert there.is_cuda and there.device.type == "cuda" and there.device == CUDA and there.get_device() == 0
        assert move(there) is there
    assert not host.is_cuda and host.device.type == "cpu" and there.cpu().device.type == "cpu"


def test_modules_defaults_and_contexts_reach_the_device(cuda):
    assert nn.Linear(2, 3).cuda().weight.device == CUDA
    assert nn.Linear(2, 3).to("cuda").bias.is_cuda
    assert nn.Linear(2, 3, device="cuda").weight.device == CUDA
    with torch.device("cuda"):
        assert torch.ones(2).is_cuda and torch.tensor([1.0]).is_cuda and nn.Linear(1, 1).weight.is_cuda
    torch.set_default_device("cuda")
    try:
        assert torch.rand(2).is_cuda and torch.get_default_device().type == "cuda"
    finally:
        torch.set_default_device(None)
    there = torch.ones(2, device="cuda")
    for made in (there.new_zeros(2), there.new_tensor([1.0]), torch.zeros_like(there), torch.rand_like(there)):
        assert made.device == CUDA
    assert torch.zeros_like(torch.ones(2), device="cuda").is_cuda


def test_lazy_modules_move_before_they_have_a_shape(cuda):
    for module in (nn.LazyLinear(3).cuda(), nn.LazyLinear(3).to("cuda"), nn.LazyLinear(3, device="cuda")):
        assert module(torch.ones(2, 5, device="cuda")).is_cuda
        assert module.weight.shape == (3, 5) and module.weight.device == CUDA


def test_autocast_and_the_scaler_work_under_each_of_their_names(cuda):
    model, data = nn.Linear(4, 4).cuda(), torch.ones(2, 4, device="cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast(device_type="cuda", dtype=dtype):
            assert model(data).dtype is dtype
            assert (
                torch.is_autocast_enabled("cuda")
                and torch.is_autocast_enabled()
                and not torch.is_autocast_enabled("cpu")
            )
    with pytest.deprecated_call(), torch.cuda.amp.autocast():
        assert model(data).dtype is torch.float16
    with pytest.deprecated_call():
        old = torch.cuda.amp.GradScaler()
    before = model.weight.detach().clone()
    for scaler in (torch.amp.GradScaler("cuda"), old):
        scaler.scale(model(data).sum()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    assert not torch.equal(before, model.weight)


def test_memory_is_read_and_reset_through_torch_cuda(cuda):
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    kept = torch.empty(MiB, device="cuda")
    assert torch.cuda.memory_allocated("cuda:0") - before == 4 * MiB
    assert torch.cuda.memory_reserved(0) >= 4 * MiB <= torch.cuda.max_memory_allocated(CUDA)
    del kept
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == before
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total == torch.cuda.get_device_properties("cuda").total_memory
    assert "PyTorch CUDA memory summary" in torch.cuda.memory_summary()
    assert torch.cuda.memory_stats()["allocated_bytes.all.current"] == before


def test_the_device_answers_scripts_that_look_before_they_leap(cuda):
    assert torch.cuda.is_available() and torch.cuda.device_count() >= 1 and torch.cuda.current_device() == 0
    assert "Simulated" in torch.cuda.get_device_name(0) and torch.cuda.is_bf16_supported()
    torch.cuda.set_device("cuda:0")
    with torch.cuda.device(CUDA), torch.cuda.device(0):
        torch.cuda.synchronize()
    torch.cuda.manual_seed_all(1)
    first = torch.rand(3, device="cuda").tolist()
    torch.cuda.manual_seed(1)
    assert torch.rand(3, device="cuda").tolist() == first
    assert torch.accelerator.current_accelerator() == torch.device("cuda")


def test_streams_events_and_marks_run(cuda):
    side = torch.cuda.Stream()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    with torch.cuda.stream(side):
        doubled = torch.ones(2, device="cuda") * 2
    torch.cuda.current_stream().wait_stream(side)
    doubled.record_stream(side)
    end.record()
    torch.cuda.synchronize()
    assert start.elapsed_time(end) >= 0 and isinstance(side, torch.cuda.Stream)
    torch.cuda.nvtx.range_push("step")
    torch.cuda.nvtx.range_pop()


def test_a_checkpoint_says_cuda_and_goes_where_it_is_sent(cuda):
    file = io.BytesIO()
    torch.save({"weight": torch.arange(4.0, device="cuda")}, file)
    for sent, arrives in ((None, "cuda"), ("cuda", "cuda"), (CUDA, "cuda"), ("cpu", "cpu"), ({"cuda:0": "cpu"}, "cpu")):
        file.seek(0)
        weight = torch.load(file, map_location=sent)["weight"]
        assert weight.device.type == arrives and weight.tolist() == [0, 1, 2, 3]
    made_on_cpu = io.BytesIO()
    torch.save(torch.ones(2), made_on_cpu)
    made_on_cpu.seek(0)
    assert torch.load(made_on_cpu, map_location="cuda:0").is_cuda


def test_the_names_of_old_scripts_work(cuda):
    there = torch.cuda.FloatTensor([1.0, 2.0])
    assert there.tolist() == [1, 2] and there.type() == "torch.cuda.FloatTensor"
    assert isinstance(there, torch.cuda.FloatTensor) and not isinstance(there, torch.cuda.LongTensor)
    assert torch.ones(2).type("torch.cuda.HalfTensor").dtype is torch.float16
    assert torch.ones(2).type(torch.cuda.LongTensor).is_cuda and torch.ones(2).type(torch.int32).dtype is torch.int32
    assert copy.deepcopy(nn.Linear(2, 2).cuda()).weight.is_cuda and "cuda:0" in repr(there)


def test_torch_compile_gives_what_it_always_gives_and_runs_eagerly(cuda, capsys):
    model = nn.Linear(2, 2).cuda()
    compiled = torch.compile(model, mode="max-autotune")
    assert compiled._orig_mod is model and list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    data = torch.ones(1, 2, device="cuda")
    assert torch.equal(compiled(data), model(data))
    model.compile()
    assert torch.equal(model(data), compiled(data))

    @torch.compile(fullgraph=True)
    def double(x):
        return x * 2

    assert double(torch.ones(1, device="cuda")).item() == 2
    assert NOT_COMPILED[0] == "Linear" and NOT_COMPILED[-1] == "double"
    assert capsys.readouterr() == ("", ""), "the report of `autograder run` says it"


def test_a_profile_that_asks_for_cuda_says_nothing_on_stderr(cuda, capfd):
    cpu, there = torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA
    for activities in ([cpu, there], [there]):
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            torch.ones(2, device="cuda") * 2
        assert any("aten::mul" in event.key for event in profile.key_averages())
    assert "CUDA" not in capfd.readouterr().err


def test_what_cannot_work_says_so(cuda):
    with pytest.raises(NotSimulated, match="CUDAGraph is not simulated: CUDA graphs record"):
        torch.cuda.CUDAGraph()
    with pytest.raises(NotSimulated, match="no driver"):
        torch.cuda.utilization()
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(1, device="cuda:63")


def test_errors_call_the_device_what_the_script_calls_it(cuda):
    there, here = torch.ones(2, 3, 8, device="cuda"), torch.ones(2, 3, 8)
    heads = torch.ones(1, 2, 4, 8, device="cuda")
    for mixed in (
        lambda: nn.LSTM(8, 4)(there),
        lambda: there + here,
        lambda: torch.cat([there, here]),
        lambda: torch.index_put_(there, (torch.tensor([0]),), here[0]),
        lambda: nn.functional.scaled_dot_product_attention(heads, heads.cpu(), heads),
    ):
        with pytest.raises(RuntimeError, match=r"cuda:0") as caught:
            mixed()
        assert "simgpu" not in str(caught.value)


def test_a_torch_built_for_cuda_has_its_own_factories_replaced_and_put_back(device):
    """The usual build from PyPI has CUDA kernels; without a GPU they look for a driver. Here stands one like them."""
    built_in = torch.library.Library("aten", "IMPL")

    def no_driver(*args, **kwargs):
        raise RuntimeError("Found no NVIDIA driver on your system")

    built_in.impl("empty.memory_format", no_driver, "CUDA")
    try:
        with cuda_means_simgpu():
            assert torch.empty(2, device="cuda").is_cuda and torch.randn(2, 3, device="cuda:0").shape == (2, 3)
        with pytest.raises(RuntimeError, match="Found no NVIDIA driver"):
            torch.ops.aten.empty.memory_format([2], device=torch.device("cuda"))
    finally:
        built_in._destroy()


def test_several_devices_are_told_apart(device):
    before = torch.simgpu.device_count()
    with cuda_means_simgpu(devices=2):
        assert torch.cuda.device_count() == 2
        second = torch.ones(2, device="cuda:1")
        assert second.device == torch.device("cuda:1") and second.cuda(0).device == CUDA
        with torch.cuda.device("cuda:1"):
            assert torch.zeros(1, device="cuda").get_device() == 1 and torch.ones(2).cuda().device == second.device
        assert torch.cuda.memory_allocated(1) == 512 and torch.cuda.current_device() == 0
        del second
    assert torch.simgpu.device_count() == before


def test_everything_is_put_back_and_every_change_is_in_the_table(device):
    before, locations = _namespaces(), list(torch.serialization._package_registry)
    with cuda_means_simgpu():
        during = _namespaces()
        changed = {key for key in during if during[key] is not before.get(key)}
        kept = torch.ones(2, device="cuda")
    assert {key for key, value in _namespaces().items() if value is not before.get(key)} == set()
    with replaced() as rows:
        named = {(row.owner.__name__, row.name) for row in rows}
        assert all(row.reason for row in rows)
    assert changed <= named
    assert torch.serialization._package_registry == locations
    assert not torch.cuda.is_available() and not is_installed() and kept.device == device and not kept.is_cuda
    with pytest.raises((RuntimeError, AssertionError, NotImplementedError)):
        torch.zeros(2, device="cuda")


def test_it_is_put_back_after_an_error_too(device):
    before = _namespaces()
    with pytest.raises(ZeroDivisionError), cuda_means_simgpu():
        raise ZeroDivisionError
    assert _namespaces() == before


def test_a_second_block_and_a_real_gpu_are_refused(device, monkeypatch):
    with cuda_means_simgpu(), pytest.raises(SetupError, match="already"), cuda_means_simgpu():
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SetupError, match="this machine has a CUDA device"), cuda_means_simgpu():
        pass


def test_this_package_sees_its_own_name(cuda):
    """Do our own modules, which ask `tensor.device` too, still see simgpu?"""
    ours = types.ModuleType("autograder.probe")
    exec("def ask(tensor): return tensor.device.type, tensor.is_cuda", vars(ours))  # noqa: S102
    assert ours.ask(torch.ones(1, device="cuda")) == ("simgpu", False)
