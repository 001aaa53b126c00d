"""Two ranks by spawn, NCCL asked for, DDP with device_ids."""
import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

device = "cuda" if torch.cuda.is_available() else "cpu"


def worker(rank, world_size, folder):
    path = os.path.join(folder, "store")
    dist.init_process_group("nccl", init_method=f"file://{path}", rank=rank, world_size=world_size)
    torch.cuda.set_device(rank)
    torch.manual_seed(0)
    model = DDP(nn.Linear(256, 256).to(device), device_ids=[rank])
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 256, device="cuda")).sum().backward()
        optimizer.step()
    total = torch.ones(1, device="cuda") * (rank + 1)
    dist.all_reduce(total)
    with open(os.path.join(folder, f"{rank}.txt"), "w") as file:
        file.write(f"{device} {total.item()} {torch.cuda.memory_allocated() // (4 * 256 * 257)}")
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, args=(2, folder), nprocs=2)
        for rank in range(2):
            with open(os.path.join(folder, f"{rank}.txt")) as file:
                print(rank, file.read())
