"""Imported by options.py from its own folder."""
from torch import nn


def build(device):
    return nn.Linear(8, 2).to(device)
