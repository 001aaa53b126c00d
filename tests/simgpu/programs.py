"""Small models of the kinds people train, and one training loop to compare devices with."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from tests.simgpu.conftest import DEVICE


class Block(nn.Module):
    """One transformer block, attention by scaled_dot_product_attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden):
        batch, length, width = hidden.shape
        heads = self.qkv(self.before_attention(hidden)).view(batch, length, 3, self.heads, -1).transpose(1, 3)
        query, key, value = heads.unbind(2)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return hidden + self.mlp(self.before_mlp(hidden))


class GPT(nn.Module):
    """Token and position embeddings, blocks, tied output weights. Input: (batch, length) of token numbers."""

    def __init__(self, vocabulary=64, width=64, heads=4, layers=2, longest=32):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.tokens(tokens) + self.positions(positions))))


class LanguageModel(nn.Module):
    """Embedding, two LSTM layers, output. Input: (batch, length) of token numbers."""

    def __init__(self, vocabulary=64):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 16)
        self.lstm = nn.LSTM(16, 32, 2, batch_first=True)
        self.head = nn.Linear(32, vocabulary)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


class ResidualNet(nn.Module):
    """Convolutions with batch norm, groups, strides and in-place ReLU. Input: (batch, 3, 16, 16)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleList([self._block() for _ in range(2)])
        self.down = nn.Conv2d(8, 16, 3, stride=2)
        self.head = nn.Linear(16, 10)

    @staticmethod
    def _block():
        return nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=2),
            nn.BatchNorm2d(8),
        )

    def forward(self, images):
        hidden = self.stem(images)
        for block in self.blocks:
            hidden = F.relu(hidden + block(hidden), inplace=True)
        return self.head(F.adaptive_avg_pool2d(F.max_pool2d(self.down(hidden), 2), 1).flatten(1))


def token_batch():
    """Inputs and targets for GPT and LanguageModel."""
    return torch.randint(0, 64, (4, 16)), torch.randint(0, 64, (4, 16))


def image_batch():
    """Inputs and targets for ResidualNet."""
    return torch.randn(4, 3, 16, 16), torch.randint(0, 10, (4,))


def train(model, next_batch, optimizer, steps=4):
    """Train; returns the losses."""
    losses = []
    for _ in range(steps):
        inputs, targets = next_batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_on_both(make_model, next_batch, make_optimizer):
    """The losses of the same training on the CPU and on the device."""
    torch.manual_seed(5)
    model = make_model()
    device_model = copy.deepcopy(model).to(DEVICE)
    torch.manual_seed(9)
    expected = train(model, next_batch, make_optimizer(model.parameters()))
    torch.manual_seed(9)
    actual = train(
        device_model, lambda: tuple(t.to(DEVICE) for t in next_batch()), make_optimizer(device_model.parameters())
    )
    return expected, actual
