"""Records the memory history and dumps a snapshot, as PyTorch's documentation shows."""
import sys

import torch

torch.cuda.memory._record_memory_history(max_entries=100000)
model = torch.nn.Linear(128, 128, device="cuda")
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(5):
    model(torch.randn(16, 128, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
torch.cuda.memory._dump_snapshot(sys.argv[1])
torch.cuda.memory._record_memory_history(enabled=None)
