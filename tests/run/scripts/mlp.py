"""A small classifier, moved with .cuda()."""
import torch
from torch import nn

torch.manual_seed(0)
assert torch.cuda.is_available()
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).cuda()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss().cuda()
for step in range(12):
    x = torch.randn(32, 64).cuda()
    y = torch.randint(0, 10, (32,)).cuda()
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    if step % 4 == 0:
        print(f"step {step} loss {loss.item():.4f} on {x.device}")
print(torch.cuda.get_device_name(0), torch.cuda.max_memory_allocated() > 0)
