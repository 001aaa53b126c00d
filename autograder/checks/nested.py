"""The tensors inside whatever a learner returned, each with the path that leads to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

import torch


def tensors_in(thing, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (path, tensor) for a tensor, a module, and nested lists, tuples, sets, dicts and dataclasses."""
    yield from _walk(thing, path, frozenset())


def _walk(thing, path: str, above: frozenset[int]) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(thing, torch.Tensor):
        yield path, thing
    elif isinstance(thing, torch.nn.Module):
        for named in (thing.named_parameters, thing.named_buffers):
            yield from ((f"{path}.{name}", tensor) for name, tensor in named())
    elif id(thing) not in above:
        for step, child in _children(thing):
            yield from _walk(child, path + step, above | {id(thing)})


def _children(thing) -> Iterator[tuple[str, object]]:
    if isinstance(thing, Mapping):
        yield from ((f"[{key!r}]", value) for key, value in thing.items())
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", value) for index, value in enumerate(thing))
    elif is_dataclass(thing) and not isinstance(thing, type):
        yield from ((f".{field.name}", getattr(thing, field.name)) for field in fields(thing))
