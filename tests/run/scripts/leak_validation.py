"""LEAK: validation without torch.no_grad(), its total kept from epoch to epoch."""
import torch
from torch import nn


class Trainer:
    def __init__(self, device):
        self.device = device
        self.model = nn.Sequential(nn.Linear(32, 512), nn.ReLU(), nn.Linear(512, 1)).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.history = []

    def batches(self, count):
        for _ in range(count):
            x = torch.randn(16, 32, device=self.device)
            yield x, x.sum(1, keepdim=True)

    def epoch(self):
        self.model.train()
        for x, y in self.batches(4):
            self.optimizer.zero_grad()
            nn.functional.mse_loss(self.model(x), y).backward()
            self.optimizer.step()
        self.model.eval()
        total = 0
        for x, y in self.batches(3):
            total += nn.functional.mse_loss(self.model(x), y)
        self.history.append(total)


torch.manual_seed(0)
trainer = Trainer("cuda:0")
for _ in range(5):
    trainer.epoch()
print(len(trainer.history))
