"""A data loader with workers and pinned memory, and a checkpoint at the end."""
import os
import tempfile

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 96

    def __getitem__(self, i):
        x = torch.full((8,), i / 96)
        return x, x.pow(2).sum(0, keepdim=True)


def train(model, loader, device, epochs=2):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(epochs):
        for x, y in loader:
            assert x.is_pinned() and x.device.type == "cpu"
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            optimizer.zero_grad(set_to_none=True)
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()


if __name__ == "__main__":
    torch.manual_seed(0)
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    assert device.type == "cuda"
    model = nn.Linear(8, 1).to(device)
    loader = DataLoader(Squares(), batch_size=16, shuffle=True, num_workers=2, pin_memory=True)
    train(model, loader, device)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pt")
        torch.save(model.state_dict(), path)
        state = torch.load(path, map_location=device)
        assert all(value.is_cuda for value in state.values())
    print("trained", next(model.parameters()).is_cuda)
