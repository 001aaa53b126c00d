"""Six models in the shapes people train, each with its batch, in a small and a full size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Task:
    """A model and its loss: ``loss(model, batch)`` is a number; ``batch(device)`` makes inputs and targets."""

    model: nn.Module
    batch: Callable
    loss: Callable


def cross_entropy(model, batch):
    """Mean cross entropy of (inputs, classes), classes in the last dimension of the model's output."""
    inputs, classes = batch
    return F.cross_entropy(model(inputs).flatten(0, -2), classes.flatten())


def mlp(full: bool, checkpointing: bool = False) -> Task:
    """Three layers over vectors."""
    width, rows = (4096, 1024) if full else (256, 64)
    model = nn.Sequential(
        *(nn.Linear(256, width), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(width, width), nn.GELU()),
        nn.Linear(width, 10),
    )
    return Task(model, lambda device: (torch.randn(rows, 256).to(device), _classes(10, rows).to(device)), cross_entropy)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al., 2015, arXiv:1512.03385)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _ in range(2))
        self.shortcut = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = F.relu(self.norms[0](self.first(x)), inplace=True)
        return F.relu(self.norms[1](self.second(y)) + self.shortcut(x), inplace=True)


def resnet(full: bool, checkpointing: bool = False) -> Task:
    """ResNet-18."""
    width, side, rows = (64, 96, 4) if full else (8, 32, 2)
    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    before = width
    for stage in range(4):
        after = width << stage
        layers += [BasicBlock(before, after, 1 if stage == 0 else 2), BasicBlock(after, after, 1)]
        before = after
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000 if full else 10))
    count = 1000 if full else 10
    return Task(model, lambda device: (torch.randn(rows, 3, side, side).to(device), _classes(count, rows).to(device)),
                cross_entropy)  # fmt: skip


class LanguageLstm(nn.Module):
    """Embedding, two LSTM layers with dropout, and a decoder."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = nn.LSTM(width, width, 2, dropout=0.2, batch_first=True)
        self.decoder = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        return self.decoder(self.recurrent(self.embedding(tokens))[0])


def lstm(full: bool, checkpointing: bool = False) -> Task:
    """A language model in the "medium" size of Zaremba et al. (2014, arXiv:1409.2329)."""
    vocabulary, width, length, rows = (10_000, 650, 35, 20) if full else (200, 64, 12, 8)
    return Task(LanguageLstm(vocabulary, width), _tokens(vocabulary, rows, length), cross_entropy)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x):
        batch, length, width = x.shape
        split = self.qkv(self.norms[0](x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*split.unbind(0), is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    """A stem that makes (batch, length, width), blocks, and a head."""

    def __init__(self, stem: nn.Module, head: nn.Module, blocks: list[Block], checkpointing: bool):
        super().__init__()
        self.stem, self.blocks, self.head, self.checkpointing = stem, nn.ModuleList(blocks), head, checkpointing

    def forward(self, inputs):
        x = self.stem(inputs)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing else block(x)
        return self.head(x)


class TokenStem(nn.Module):
    """Token and position embeddings."""

    def __init__(self, vocabulary: int, length: int, width: int):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)

    def forward(self, tokens):
        return self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))


def gpt(full: bool, checkpointing: bool = False) -> Task:
    """GPT-2 small: 12 layers, width 768, 12 heads (Radford et al., 2019)."""
    vocabulary, width, depth, heads, length, rows = (50_257, 768, 12, 12, 256, 2) if full else (256, 64, 2, 4, 48, 4)
    head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False))
    blocks = [Block(width, heads, causal=True) for _ in range(depth)]
    model = Transformer(TokenStem(vocabulary, length, width), head, blocks, checkpointing)
    head[1].weight = model.stem.tokens.weight  # tied, as in GPT-2
    return Task(model, _tokens(vocabulary, rows, length), cross_entropy)


class PatchStem(nn.Module):
    """Patches, a class token and positions."""

    def __init__(self, patch: int, count: int, width: int):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, count + 1, width))

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.positions


class FirstToken(nn.Module):
    """The class token's place."""

    def forward(self, x):
        return x[:, 0]


def vit(full: bool, checkpointing: bool = False) -> Task:
    """ViT-S/16: 12 layers, width 384, 6 heads (Touvron et al., 2021, arXiv:2012.12877)."""
    side, patch, width, depth, heads, rows, count = (224, 16, 384, 12, 6, 4, 1000) if full else (32, 8, 48, 2, 4, 4, 10)
    head = nn.Sequential(nn.LayerNorm(width), FirstToken(), nn.Linear(width, count))
    blocks = [Block(width, heads, causal=False) for _ in range(depth)]
    model = Transformer(PatchStem(patch, (side // patch) ** 2, width), head, blocks, checkpointing)
    return Task(model, lambda device: (torch.randn(rows, 3, side, side).to(device), _classes(count, rows).to(device)),
                cross_entropy)  # fmt: skip


def _convolutions(before: int, after: int) -> nn.Sequential:
    pairs = (nn.Conv2d(a, after, 3, padding=1) for a in (before, after))
    return nn.Sequential(*(layer for pair in pairs for layer in (pair, nn.GroupNorm(4, after), nn.SiLU())))


class UNet(nn.Module):
    """Down, across and up again with skips (Ronneberger et al., 2015, arXiv:1505.04597)."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in zip([3, *widths], widths[:-1]))
        self.across = _convolutions(widths[-2], widths[-1])
        self.raise_ = nn.ModuleList(nn.ConvTranspose2d(2 * b, b, 2, 2) for b in reversed(widths[:-1]))
        self.up = nn.ModuleList(_convolutions(2 * b, b) for b in reversed(widths[:-1]))
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, x):
        skips = []
        for convolutions in self.down:
            skips.append(convolutions(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.across(x)
        for raise_, convolutions in zip(self.raise_, self.up):
            x = convolutions(torch.cat([skips.pop(), raise_(x)], 1))
        return self.out(x)


def unet(full: bool, checkpointing: bool = False) -> Task:
    """A U-Net of width 64 and depth 4 on small images."""
    width, depth, side, rows = (64, 4, 96, 2) if full else (8, 2, 32, 2)

    def batch(device):
        return torch.randn(rows, 3, side, side).to(device), torch.randn(rows, 3, side, side).to(device)

    return Task(UNet(width, depth), batch, lambda model, pair: F.mse_loss(model(pair[0]), pair[1]))


def _classes(count: int, rows: int):
    return torch.randint(0, count, (rows,))


def _tokens(vocabulary: int, rows: int, length: int):
    def batch(device):
        text = torch.randint(0, vocabulary, (rows, length + 1))
        return text[:, :-1].to(device), text[:, 1:].to(device)

    return batch


MODELS = {"mlp": mlp, "resnet": resnet, "lstm": lstm, "gpt": gpt, "vit": vit, "unet": unet}
