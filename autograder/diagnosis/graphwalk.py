"""Walk the autograd graph behind the live tensors: what its nodes saved, and which tensors keep it."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch

from .heap import Budget, Refs, Table, storage_pointer

_MOST_NODES = 200_000
_MOST_ROOTS = 4


class GraphWalk:
    """Every node reachable from ``tensors``, walked once.

    Saved tensors are read through ``_raw_saved_*`` and ``SavedTensor.data``, which run no unpack hook: the
    plain ``_saved_*`` would recompute a checkpointed block. Where torch has no such ``data`` nothing is read.
    """

    def __init__(self, tensors: Refs, wanted: set[int], budget: Budget):
        self.nodes = Table()
        self.complete = True
        self._saved = Table()
        self._parents = Table()
        self._roots = Table()
        self._above = Table()
        self._wanted = wanted
        self._walk(self._enter(budget.within(tensors)), budget)

    def savers(self, pointer: int) -> Refs:
        """Return the nodes that saved the storage at ``pointer``."""
        return self._saved.get(pointer, Refs())

    def carriers(self) -> Refs:
        """Return the live tensors from which the walk entered the graph."""
        return Refs(tensor for tensors in self._roots.values() for tensor in tensors)

    def keep_roots(self, held) -> None:
        """Forget the carriers that ``held(tensor)`` denies: a tensor that only the graph itself saved keeps nothing.

        A leaf stays: it carries the graph of its gradient, and that graph ends at the leaf, so the two hold each other.
        """
        for key, tensors in list(self._roots.items()):
            self._roots[key] = Refs(tensor for tensor in tensors if tensor.is_leaf or held(tensor))
        self._above.clear()

    def roots(self, node: object) -> Refs:
        """Return up to four tensors that keep ``node`` alive, nearest first."""
        self._climb(id(node))
        return self._above.get(id(node), Refs())

    def _enter(self, tensors: Iterable[torch.Tensor]) -> Refs:
        """Register each tensor with its node, and with that of its ``.grad``, if ``create_graph=True`` gave it one."""
        stack = Refs()
        for tensor in tensors:
            for carrier in (tensor, gradient_of(tensor)):
                node = None if carrier is None else _node_of(carrier)
                if node is not None:
                    self._roots.setdefault(id(node), Refs()).append(tensor)
                    stack.append(node)
        return stack

    def _walk(self, stack: Refs, budget: Budget) -> None:
        while stack:
            node = stack.pop()
            if id(node) in self.nodes:
                continue
            if len(self.nodes) >= _MOST_NODES or not budget.left():
                self.complete = False
                return
            self.nodes[id(node)] = node
            self._note_saved(node)
            for below, _ in node.next_functions:
                if below is not None:
                    self._parents.setdefault(id(below), Refs()).append(node)
                    stack.append(below)

    def _note_saved(self, node) -> None:
        for tensor in saved_by(node):
            pointer = storage_pointer(tensor)
            if pointer in self._wanted:
                nodes = self._saved.setdefault(pointer, Refs())
                if not any(known is node for known in nodes):
                    nodes.append(node)

    def _climb(self, start: int) -> None:
        """Collect the roots above ``start`` and above all nodes on the way (no recursion: graphs are deep)."""
        stack = Refs([(start, False)])
        entered = set()
        while stack:
            key, ready = stack.pop()
            if key in self._above or (key in entered and not ready):
                continue
            parents = self._parents.get(key, ())
            if ready:
                self._above[key] = self._merge(key, parents)
                continue
            entered.add(key)
            stack.append((key, True))
            stack.extend((id(parent), False) for parent in parents if id(parent) not in self._above)

    def _merge(self, key: int, parents) -> Refs:
        roots = Refs(self._roots.get(key, ()))[:_MOST_ROOTS]
        for parent in parents:
            for root in self._above.get(id(parent), ()):
                if len(roots) < _MOST_ROOTS and not any(root is known for known in roots):
                    roots.append(root)
        return Refs(roots)


def gradient_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return ``tensor.grad`` where reading it prints no warning."""
    try:
        return tensor.grad if tensor.is_leaf or tensor.retains_grad else None
    except RuntimeError:
        return None


def _node_of(tensor: torch.Tensor):
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def saved_by(node) -> list[torch.Tensor]:
    """Return the tensors one node keeps for backward; none once backward has freed them."""
    found = []
    for name in _saved_names(type(node)):
        try:
            value = getattr(node, name)
        except (RuntimeError, AttributeError):
            continue
        found.extend(_tensors(value))
    return found


@functools.cache
def _saved_names(node_type: type) -> tuple[str, ...]:
    names = [name for name in dir(node_type) if name.startswith("_raw_saved_")]
    return tuple(names + ["variable"] if node_type.__name__ == "AccumulateGrad" else names)


def _tensors(value) -> list[torch.Tensor]:
    """Unfold a saved value: a tensor, a SavedTensor, or a sequence of them (one pack hook's tuple included)."""
    if issubclass(type(value), torch.Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in _tensors(part)]
    try:
        packed = getattr(value, "data", None)
    except RuntimeError:
        return []
    return [] if packed is None else _tensors(packed)
