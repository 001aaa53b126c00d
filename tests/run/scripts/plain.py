"""LEAK: no module and no optimizer, only a loop; a running total that stays on the device."""
import torch

kept = []
for i in range(30):
    matrix = torch.ones(64, 64, device="cuda") * i
    kept.append(matrix @ matrix)
