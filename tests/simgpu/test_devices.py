"""Several simulated devices: each has its memory, tensors know theirs, and copies between them are counted."""

import gc
import threading

import pytest
import torch
from torch import nn

from autograder import simgpu
from autograder.errors import SimGpuUnavailable
from autograder.simgpu.devices import wanted_count
from autograder.units import MiB


@pytest.fixture(scope="module", autouse=True)
def two_devices():
    """A second device for this module."""
    simgpu.enable(devices=2)
    yield
    gc.collect()
    torch.simgpu.empty_cache()
    simgpu.enable(devices=1)


@pytest.fixture
def gpus():
    """Both devices, with nothing left on the second one afterwards and the first one current."""
    yield torch.device("simgpu:0"), torch.device("simgpu:1")
    torch.simgpu.set_device(0)
    gc.collect()
    assert torch.simgpu.memory_allocated(1) == 0, "the test left memory on the second device"


def test_how_many_are_there():
    assert torch.simgpu.device_count() == torch.accelerator.device_count() == 2
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.empty(1, device="simgpu:2")
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.simgpu.set_device(2)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(1).to("simgpu:7")


@pytest.mark.parametrize("number", [0, 17, "many"])
def test_a_number_of_devices_that_makes_no_sense_is_refused(number):
    with pytest.raises(SimGpuUnavailable, match="a number from 1 to 16, found"):
        wanted_count(number)


def test_what_does_the_environment_say():
    assert wanted_count(None, {}) == 1
    assert wanted_count(None, {"AUTOGRADER_SIMGPU_DEVICES": "4"}) == 4
    assert wanted_count(2, {"AUTOGRADER_SIMGPU_DEVICES": "4"}) == 2
    with pytest.raises(SimGpuUnavailable, match="AUTOGRADER_SIMGPU_DEVICES to be a number"):
        wanted_count(None, {"AUTOGRADER_SIMGPU_DEVICES": "all"})


def test_a_device_in_use_cannot_be_taken_away(gpus):
    kept = torch.ones(1, device="simgpu:1")
    with pytest.raises(SimGpuUnavailable, match="a later one is in use"):
        simgpu.enable(devices=1)
    del kept


def test_has_each_device_its_own_memory(gpus):
    first, second = gpus
    torch.simgpu.empty_cache()
    before = torch.simgpu.memory_allocated(0)
    torch.simgpu.reset_peak_memory_stats(1)
    x = torch.zeros(3 * MiB, dtype=torch.uint8, device=second)
    assert (x.device, torch.simgpu.memory_allocated(second), torch.simgpu.memory_allocated(first)) == (
        second, 3 * MiB, before,
    )  # fmt: skip
    assert torch.simgpu.memory_stats("simgpu:1")["allocated_bytes.all.peak"] == 3 * MiB
    assert torch.simgpu.mem_get_info(1)[0] == torch.simgpu.mem_get_info(1)[1] - 20 * MiB
    devices = {segment["device"] for segment in torch.simgpu.memory_snapshot()}
    assert 1 in devices and len(torch.simgpu.memory._snapshot()["device_traces"]) == 2
    with torch.simgpu.device(1):
        assert torch.simgpu.memory_allocated() == 3 * MiB


def test_do_results_stay_on_their_operands_device(gpus):
    """GIVEN operators of every sort, whatever device is current THEN results, views and gradients are on theirs."""
    _, second = gpus
    x = torch.randn(4, 4, device=second, requires_grad=True)
    results = [
        x + 1, x @ x, x.t(), x[0], x.sum(), x.clone(), x.detach(), torch.empty_like(x), x.new_zeros(2), x.double(),
        torch.stack([x, x]), *torch.split(x, 2), nn.functional.layer_norm(x, (4,)), nn.functional.dropout(x),
        nn.functional.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]),
        nn.functional.conv1d(x[None], torch.ones(4, 4, 1, device=second)), torch.fft.fft(x), x.conj(), x.bool(),
        x.nonzero(), x[x > 0], torch.zeros(3, device=second).index_fill(0, torch.tensor([1], device=second), 1.0),
    ]  # fmt: skip
    assert {result.device for result in results} == {second}
    x.exp().sum().backward()
    assert x.grad.device == second
    torch.testing.assert_close(x.grad.cpu(), x.detach().cpu().exp())


def test_does_the_same_training_give_the_same_numbers_on_either(gpus):
    def losses(device):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 1)).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        data = torch.randn(16, 8).to(device)
        found = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = model(data).square().mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        assert all(p.device == device and p.grad.device == device for p in model.parameters())
        return found

    assert losses(gpus[0]) == losses(gpus[1])


@pytest.mark.parametrize("operation", [
    lambda a, b: a + b, lambda a, b: a @ b, lambda a, b: torch.cat([a, b]), lambda a, b: a.index_select(0, b[0].long()),
    lambda a, b: nn.functional.linear(a, b), lambda a, b: a.add_(b), lambda a, b: torch.where(a > 0, a, b),
    lambda a, b: nn.functional.scaled_dot_product_attention(a[None], b[None], b[None]), lambda a, b: a + b.sum(),
], ids=range(9))  # fmt: skip
def test_do_two_devices_mixed_raise_in_cudas_words(gpus, operation):
    a, b = torch.ones(2, 2, device=gpus[0]), torch.ones(2, 2, device=gpus[1])
    with pytest.raises(
        RuntimeError, match="Expected (all tensors|query, key, and value) to (be on|have) the same device"
    ):
        operation(a, b)


def test_which_devices_does_the_message_name(gpus):
    a, b = torch.ones(2, device=gpus[0]), torch.ones(2, device=gpus[1])
    with pytest.raises(RuntimeError, match="found at least two devices, simgpu:0 and simgpu:1!"):
        a + b


def test_are_copies_between_devices_counted(gpus, ledger):
    """GIVEN 4,000 bytes moved by to() and by copy_() THEN two peer copies, none with the host, and no wait."""
    first, second = gpus
    x = torch.arange(1000.0, device=first)
    before = ledger.counters()
    y = x.to(second)
    y.copy_(x)
    same = x.to(first)
    after = ledger.counters()
    assert (after.peer_count - before.peer_count, after.peer_bytes - before.peer_bytes) == (2, 8000)
    assert (after.h2d_count, after.d2h_count, after.syncs) == (before.h2d_count, before.d2h_count, before.syncs)
    assert same is x and y.device == second and torch.equal(y.cpu(), x.cpu())


def test_does_waiting_for_the_target_of_a_copy_mean_waiting_for_its_source(gpus):
    """GIVEN a block held back for device 0's side stream, from which a copy went to device 1 WHEN device 1 is waited
    for THEN the block is free: the copy came after the work, and device 1 after the copy."""
    gpu = torch.simgpu
    gpu.synchronize(0)
    held = torch.ones(1000, device=gpus[0])
    side = gpu.Stream(gpus[0])
    held.record_stream(side)
    before = gpu.memory_stats(0)["active.all.current"]
    del held
    x = torch.ones(1, device=gpus[0])
    with gpu.stream(side):
        y = x.to(gpus[1])
    gpu.synchronize(1)
    z = torch.ones(1, device=gpus[0])
    assert gpu.memory_stats(0)["active.all.current"] == before + 1
    del x, y, z


class TestCurrentDevice:
    def test_does_a_device_without_an_index_mean_it(self, gpus):
        torch.simgpu.set_device(1)
        made = [
            torch.empty(1, device="simgpu"), torch.ones(1).to("simgpu"), torch.tensor([1], device="simgpu"),
            nn.Linear(2, 2).to("simgpu").weight, torch.as_tensor([1.0], device=torch.device("simgpu")),
            torch.arange(3, device="simgpu"), torch.ones(1).to(device="simgpu", dtype=torch.float64),
        ]  # fmt: skip
        assert {tensor.device for tensor in made} == {gpus[1]}
        assert torch.simgpu.current_device() == torch.accelerator.current_device_index() == 1

    def test_is_it_put_back(self, gpus):
        with torch.simgpu.device(1):
            with torch.simgpu.device(gpus[0]):
                assert torch.simgpu.current_device() == 0
            with torch.simgpu.device(-1), torch.simgpu.device(None):
                assert torch.simgpu.current_device() == 1
            x = torch.ones(1, device="simgpu")
        assert torch.simgpu.current_device() == 0
        with torch.simgpu.device_of(x), torch.simgpu.device_of(torch.ones(1)):
            assert torch.simgpu.current_device() == 1
        with torch.accelerator.device_index(1):
            assert torch.simgpu.current_device() == 1
        assert torch.simgpu.current_device() == 0

    def test_has_each_thread_its_own(self, gpus):
        torch.simgpu.set_device(1)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.simgpu.current_device()))
        thread.start()
        thread.join()
        assert seen == [0]

    def test_in_a_backward_it_is_that_of_the_node(self, gpus):
        """GIVEN a Function of one's own on device 1 THEN in its backward "simgpu" means device 1, also in hooks."""
        seen = []

        class Double(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, grad):
                seen.append((torch.simgpu.current_device(), torch.empty(1, device="simgpu").device.index))
                with torch.simgpu.device(0):
                    seen.append((torch.simgpu.current_device(), grad.device.index))
                return grad * 2

        x = torch.ones(2, device=gpus[1], requires_grad=True)
        y = Double.apply(x)
        y.register_hook(lambda grad: seen.append((torch.simgpu.current_device(), grad.device.index)))
        y.sum().backward()
        assert seen == [(1, 1), (1, 1), (0, 1)]
        assert torch.simgpu.current_device() == 0


def test_does_a_graph_over_two_devices_work(gpus):
    """Model parallelism: half of a model on each, gradients where their parameters are."""
    front, back = nn.Linear(4, 4).to(gpus[0]), nn.Linear(4, 1).to(gpus[1])
    back(front(torch.ones(2, 4, device=gpus[0])).to(gpus[1])).sum().backward()
    assert front.weight.grad.device == gpus[0] and back.weight.grad.device == gpus[1]
    assert front.weight.grad.abs().sum() > 0


def test_does_one_device_running_full_spare_the_other(gpus, capacity):
    capacity(64 * MiB)
    with pytest.raises(torch.OutOfMemoryError, match="GPU 1 has a total capacity of 64.00 MiB"):
        torch.empty(65 * MiB, dtype=torch.uint8, device=gpus[1])
    torch.simgpu.set_capacity(128 * MiB, 1)
    assert torch.empty(65 * MiB, dtype=torch.uint8, device=gpus[1]).numel() == 65 * MiB
    with pytest.raises(torch.OutOfMemoryError, match="GPU 0 has a total capacity of 64.00 MiB"):
        torch.empty(65 * MiB, dtype=torch.uint8, device=gpus[0])


def test_do_storages_grow_and_move_on_their_own_device(gpus, tmp_path):
    x = torch.arange(4, device=gpus[1])
    x.resize_(1000)
    assert torch.simgpu.memory_allocated(1) == 8192
    x.untyped_storage().resize_(16)
    assert torch.simgpu.memory_allocated(1) == 512
    assert torch.UntypedStorage(10, device=gpus[1]).device == gpus[1]
    torch.save(torch.arange(4, device=gpus[1]), tmp_path / "x.pt")
    loaded = torch.load(tmp_path / "x.pt")
    assert loaded.device == gpus[1] and loaded.tolist() == [0, 1, 2, 3]
    assert torch.load(tmp_path / "x.pt", map_location="simgpu:0").device == gpus[0]


@pytest.mark.filterwarnings("ignore:PyTorch is not compiled with NCCL")
def test_does_a_lazy_module_move_before_it_has_a_shape(gpus):
    module = nn.LazyLinear(3).to(gpus[1])
    assert module(torch.ones(2, 5, device=gpus[1])).device == module.weight.device == gpus[1]


def test_does_data_parallel_use_both(gpus):
    model = nn.DataParallel(nn.Linear(4, 2).to(gpus[0]), device_ids=[0, 1])
    output = model(torch.ones(6, 4, device=gpus[0]))
    assert output.shape == (6, 2) and output.device == gpus[0]
    output.sum().backward()
    assert model.module.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.complex64]
)
def test_can_every_type_be_on_the_second_device(gpus, dtype):
    x = torch.ones(3, dtype=dtype, device=gpus[1])
    assert (x.device, x.dtype, x.cpu().tolist()) == (gpus[1], dtype, torch.ones(3, dtype=dtype).tolist())


def test_every_device_has_its_own_random_numbers(gpus):
    """GIVEN one seed for all THEN both draw alike, apart from each other; a generator may name its device."""
    gpu = torch.simgpu
    assert len(gpu.default_generators) == 2 and gpu.default_generators[1].device == torch.device("simgpu:1")
    torch.manual_seed(5)
    first = [torch.rand(3, device=device).cpu() for device in ("simgpu:0", "simgpu:1")]
    assert torch.equal(*first)
    state = gpu.get_rng_state("simgpu:1")
    with gpu.device(1):
        gpu.manual_seed(6)
        assert gpu.initial_seed() == 6 and torch.Generator("simgpu").device == torch.device("simgpu:1")
    assert gpu.initial_seed() == 5
    gpu.set_rng_state(state, 1)
    assert torch.equal(gpu.get_rng_state_all()[0], gpu.get_rng_state_all()[1])
    own = torch.Generator("simgpu:1").manual_seed(5)
    assert torch.equal(torch.rand(3, generator=own, device="simgpu:1").cpu(), first[0])


def test_sparse_tensors_on_the_second_device(gpus):
    """Do a sparse tensor's parts and results stay where it is?"""
    matrix = torch.eye(3).to_sparse().to("simgpu:1")
    assert matrix.device == matrix.coalesce().values().device == torch.device("simgpu:1")
    product = torch.sparse.mm(matrix, torch.ones(3, 2, device="simgpu:1"))
    assert product.device == torch.device("simgpu:1") and product.sum().item() == 6
    assert (matrix + matrix).to_dense().device == torch.device("simgpu:1")
