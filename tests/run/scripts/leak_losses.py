"""LEAK: the loss of every step is kept with its graph."""
import torch
from torch import nn


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        error = model(torch.randn(64, 256, device=device)).pow(2)
        optimizer.zero_grad()
        error.mean().backward()
        optimizer.step()
        losses.append(error)
    print(f"{sum(error.mean().item() for error in losses) / len(losses):.4f}")


if __name__ == "__main__":
    main()
