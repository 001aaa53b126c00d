"""What each of two ranks does; run in processes of their own by test_distributed.py."""

import contextlib
import datetime
import gc
import json
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

RANKS = 2
WIDTH, LAYERS = 256, 4


def main(rank: int, folder: str) -> None:
    """Everything one rank measures, written to a file as JSON."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from autograder import simgpu

        device = simgpu.enable(1 << 30)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    join(rank, f"file://{folder}/store")
    found = {"warnings": [str(warning.message) for warning in caught]}
    for where in ("cpu", device):
        found[f"collectives on {torch.device(where).type}"] = collectives(rank, torch.device(where))
    found["gathered through"] = peak_of_gather(device)
    for name, options in {"default": {}, "view": {"gradient_as_bucket_view": True}}.items():
        found[f"ddp {name}"] = ddp(rank, device, **options)
    found["ddp on cpu"] = ddp(rank, torch.device("cpu"), measured=False)
    found["no_sync"] = without_sync(rank, device)
    for where in ("cpu", device):
        found[f"unused on {torch.device(where).type}"] = unused_parameters(torch.device(where))
    found["drawn"] = random_shards(rank, device)
    found["sync batch norm"] = sync_batch_norm(rank, device)
    gc.collect()
    found["left after ddp"] = torch.simgpu.memory_allocated()
    found["fsdp"], found["fsdp on cpu"] = fsdp(rank, device), fsdp(rank, torch.device("cpu"), measured=False)
    gc.collect()
    found["left after fsdp"] = torch.simgpu.memory_allocated()
    dist.barrier()
    dist.destroy_process_group()
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))


def join(rank: int, address: str) -> None:
    timeout = datetime.timedelta(seconds=90)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=RANKS, timeout=timeout)


def collectives(rank: int, device: torch.device) -> dict:
    """The result of each collective on this rank, as lists."""

    def mine(count=2):
        return torch.arange(float(count), device=device) + 10 * rank + 1

    def lists():
        return [torch.zeros(2, device=device) for _ in range(RANKS)]

    found = {}
    found["all_reduce"] = reduced = mine()
    dist.all_reduce(reduced)
    found["all_reduce max"] = largest = mine()
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    found["async"] = later = mine()
    dist.all_reduce(later, async_op=True).wait()
    found["broadcast"] = sent = mine()
    dist.broadcast(sent, 1)
    found["reduce"] = to_one = mine()
    dist.reduce(to_one, 0)
    found["all_gather"] = gathered = lists()
    dist.all_gather(gathered, mine())
    found["all_gather_into_tensor"] = whole = torch.zeros(4, device=device)
    dist.all_gather_into_tensor(whole, mine())
    found["reduce_scatter"] = part = torch.zeros(2, device=device)
    dist.reduce_scatter(part, [mine(), mine() * 2])
    found["reduce_scatter_tensor"] = shard = torch.zeros(2, device=device)
    dist.reduce_scatter_tensor(shard, mine(4))
    found["scatter"] = piece = torch.zeros(2, device=device)
    dist.scatter(piece, [mine(), mine() * 3] if rank == 0 else None, 0)
    found["gather"] = collected = lists() if rank == 1 else None
    dist.gather(mine(), collected, 1)
    found["all_to_all"] = swapped = torch.zeros(2, device=device)
    dist.all_to_all_single(swapped, mine())
    found["send and recv"] = passed = mine()
    dist.send(passed, 1) if rank == 0 else dist.recv(passed, 0)
    dist.barrier()
    objects = [None] * RANKS
    dist.all_gather_object(objects, {"rank": rank})
    found["objects"] = objects
    return {name: _plain(value) for name, value in found.items()}


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def peak_of_gather(device) -> float:
    """Bytes at the peak of an all_gather beyond those before it, over the bytes of its result."""
    results = [torch.zeros(1 << 18, device=device) for _ in range(RANKS)]
    own = torch.ones(1 << 18, device=device)
    before = torch.simgpu.memory_allocated()
    torch.simgpu.reset_peak_memory_stats()
    dist.all_gather(results, own)
    assert torch.simgpu.memory_allocated() == before
    return (torch.simgpu.max_memory_allocated() - before) / (RANKS << 20)


def model(device) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))).to(device)


def parameter_bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def batch(rank: int, step: int, device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(100 * rank + step)
    return torch.randn(4, WIDTH, generator=generator).to(device)


def ddp(rank: int, device, measured: bool = True, **options) -> dict:
    """Memory over the parameters' bytes after DDP was made and after each of two backwards; the last gradient."""
    module = model(device)
    nbytes = parameter_bytes(module)
    wrapped = nn.parallel.DistributedDataParallel(module, **options)
    ratios = [torch.simgpu.memory_allocated() / nbytes] if measured else []
    for step in range(2):
        wrapped.zero_grad()
        wrapped(batch(rank, step, device)).pow(2).mean().backward()
        ratios += [torch.simgpu.memory_allocated() / nbytes] if measured else []
    return {"ratios": ratios, "gradient": module[0].weight.grad[0].tolist()}


def sync_batch_norm(rank: int, device: torch.device) -> float:
    """How far this rank's part of a batch is from batch norm of the whole: result, gradient, running variance."""
    torch.manual_seed(0)
    x, weights = torch.randn(RANKS * 3, 4, 5), torch.randn(RANKS * 3, 4, 5)
    mine = slice(3 * rank, 3 * rank + 3)
    whole, part = nn.BatchNorm1d(4), nn.SyncBatchNorm(4).to(device)
    expected_input, actual_input = x.clone().requires_grad_(), x[mine].to(device).requires_grad_()
    expected, actual = whole(expected_input), part(actual_input)
    (expected * weights).sum().backward()
    (actual * weights[mine].to(device)).sum().backward()
    pairs = (
        (expected[mine], actual),
        (expected_input.grad[mine], actual_input.grad),
        (whole.running_var, part.running_var),
    )
    return max((one - other.cpu()).abs().max().item() for one, other in pairs)


def without_sync(rank: int, device) -> dict:
    """Two micro-batches, the first without synchronising: do ranks differ in between, and agree after?"""
    module = model(device)
    wrapped = nn.parallel.DistributedDataParallel(module)
    gradients = []
    for step, context in enumerate((wrapped.no_sync(), contextlib.nullcontext())):
        with context:
            (wrapped(batch(rank, step, device)).pow(2).mean() / 2).backward()
        gradients.append(module[0].weight.grad[0].tolist())
    return {"between": gradients[0], "after": gradients[1]}


class Branching(nn.Module):
    """A model of which some steps leave half unused."""

    def __init__(self):
        super().__init__()
        self.always, self.sometimes = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, whole):
        return self.sometimes(self.always(x)) if whole else self.always(x)


def unused_parameters(device) -> list:
    """A gradient after steps that leave parameters unused, and after steps of a static graph."""
    gradients = []
    for options, pattern in (({"find_unused_parameters": True}, (True, False)), ({"static_graph": True}, (True, True))):
        torch.manual_seed(0)
        module = Branching().to(device)
        wrapped = nn.parallel.DistributedDataParallel(module, **options)
        for whole in pattern:
            wrapped(torch.ones(2, 4, device=device), whole).sum().backward()
        gradients.append([module.always.weight.grad[0].tolist(), module.sometimes.weight.grad[0].tolist()])
    return gradients


def random_shards(rank: int, device) -> dict:
    """What DTensor's random operators draw on this rank: a sharded, a replicated tensor, and a model made on meta."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, rand

    mesh = init_device_mesh(device.type, (RANKS,))
    torch.manual_seed(5)
    sharded = rand(4, 2, device_mesh=mesh, placements=[Shard(0)])
    replicated = rand(3, device_mesh=mesh, placements=[Replicate()])
    with torch.device("meta"):
        module = nn.Linear(8, 8)
    fully_shard(module, mesh=mesh)
    module.to_empty(device=device)
    module.reset_parameters()
    torch.manual_seed(5)
    again = rand(4, 2, device_mesh=mesh, placements=[Shard(0)])
    return {
        "sharded": sharded.to_local().tolist(),
        "again": again.to_local().tolist(),
        "replicated": replicated.to_local().tolist(),
        "weight": module.weight.to_local()[0].tolist(),
        "then": torch.rand(2, device=device).tolist(),
    }


def fsdp(rank: int, device, measured: bool = True) -> dict:
    """Memory over the parameters' bytes: whole, sharded, and after each of two Adam steps; the loss of each."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    module = model(device)
    nbytes = parameter_bytes(module)
    ratios = []

    def measure():
        if measured:
            ratios.append(torch.simgpu.memory_allocated() / nbytes)

    measure()
    mesh = init_device_mesh(device.type, (RANKS,))
    for layer in module:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    measure()
    optimizer = torch.optim.Adam(module.parameters())
    losses = []
    for step in range(2):
        loss = module(batch(rank, step, device)).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        del loss
        measure()
    return {"ratios": ratios, "losses": losses}
