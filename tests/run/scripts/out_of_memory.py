"""Batches that double until the device is full; the first time it is caught, the second time not."""
import torch
from torch import nn

model = nn.Linear(1024, 1024).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)


def step(batch):
    optimizer.zero_grad()
    model(torch.ones(batch, 1024, device="cuda")).sum().backward()
    optimizer.step()


for attempt in range(2):
    try:
        for power in range(5, 20):
            step(2**power)
    except torch.cuda.OutOfMemoryError:
        if attempt:
            raise
        torch.cuda.empty_cache()
        print("out of memory at", 2**power)
