"""Who holds a storage: lists, attributes, closures, graph nodes, the notebook, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import torch

from .chains import Words, in_words
from .climb import Climber
from .graphwalk import GraphWalk, gradient_of
from .heap import Budget, Refs, Table, collector_paused, live_tensors, storage_pointer
from .merge import merge_positions

SECONDS = 8.0


class Holder(NamedTuple):
    """``kind``: list, dict, attribute, closure, default, graph, out, traceback, hook, frame or global;
    ``text``: the holder in words; ``count``: how many of the storages asked about it holds."""

    kind: str
    text: str
    count: int = 1

    def __str__(self) -> str:
        return self.text if self.count == 1 else f"{self.text} ({self.count} tensors)"


def holders(thing: torch.Tensor | torch.UntypedStorage) -> list[Holder]:
    """Return who keeps the bytes of a tensor or storage alive, easiest to explain first.

    Views count: whoever holds a view holds the whole storage. The variable that the caller used to pass
    ``thing`` is among the answers. Raises TypeError for anything but a tensor or a storage.
    """
    if issubclass(type(thing), torch.Tensor):
        pointer = storage_pointer(thing)
    elif isinstance(thing, (torch.UntypedStorage, torch.TypedStorage)):
        pointer = thing.data_ptr()
    else:
        raise TypeError(f"holders() expects a tensor or a storage, and was given {type(thing).__name__}")
    if pointer == 0:
        return []
    with collector_paused():
        return HolderSearch([pointer], thing.device.type).of([pointer])


class HolderSearch:
    """One search over the heap and the graph for the holders of the storages at ``pointers``.

    Make and ask it with ``collector_paused``. ``complete`` is False when it ran out of time; ``graph_nodes`` counts the live autograd nodes it saw.
    """

    def __init__(self, pointers: Iterable[int], device: str, seconds: float = SECONDS):
        wanted = set(pointers)
        self._budget = Budget(seconds)
        everything = live_tensors()
        self._tensors = self._by_pointer(self._budget.within(everything), wanted, device)
        self._gradients = self._find_gradients(self._budget.within(everything), wanted)
        self._graph = GraphWalk(everything, wanted, self._budget)
        self._climber = Climber(self._budget, graph=self._graph)
        del everything
        self._climber.referrers.look_up(self._graph.carriers())
        self._graph.keep_roots(self._climber.is_held)
        self._climber.prepare(self._everything_to_climb(wanted))

    @property
    def complete(self) -> bool:
        return self._graph.complete and not self._budget.spent

    @property
    def graph_nodes(self) -> int:
        return len(self._graph.nodes)

    def of(self, pointers: Iterable[int]) -> list[Holder]:
        """Return the holders of these storages together, those of the most storages first."""
        direct, graphs = Counter(), Counter()
        savers: dict[str, Counter] = {}
        for pointer in pointers:
            direct.update(self._direct(pointer))
            for root, names in self._graphs_over(pointer).items():
                graphs[root] += 1
                savers.setdefault(root, Counter()).update(names)
        found = [Holder(words.kind, words.text, count) for words, count in direct.items()]
        found += [Holder("graph", _graph_text(root, savers[root]), count) for root, count in graphs.items()]
        return sorted(merge_positions(found), key=lambda holder: (-holder.count, _RANK[holder.kind]))

    def _direct(self, pointer: int) -> set[Words]:
        """Who refers to a tensor over this storage, and whose gradient it is."""
        tensors = self._tensors.get(pointer, ())
        found = {in_words(chain) for tensor in tensors for chain in self._climber.holders(tensor)}
        return found | {self._gradient_words(leaf) for leaf in self._gradients.get(pointer, ())}

    def _graphs_over(self, pointer: int) -> dict[str, set[str]]:
        """Map the tensors whose graph saved this storage (in words) to the names of the nodes that did."""
        found: dict[str, set[str]] = {}
        for node in self._graph.savers(pointer):
            for root in self._climber.graph_roots(node)[:1]:
                found.setdefault(root, set()).add(node.name())
        return found

    def _gradient_words(self, leaf: torch.Tensor) -> Words:
        chain = self._climber.best(leaf)
        owner = f" `{chain.path}`" if chain is not None and chain.anchor else ""
        return Words("attribute", f"attribute `grad` of {type(leaf).__name__}{owner}")

    def _everything_to_climb(self, wanted: set[int]) -> Refs:
        start = Refs(tensor for tensors in self._tensors.values() for tensor in tensors)
        start.extend(leaf for leaves in self._gradients.values() for leaf in leaves)
        for pointer in wanted:
            for node in self._graph.savers(pointer):
                start.extend(self._graph.roots(node))
        return start

    @staticmethod
    def _by_pointer(tensors: Iterable[torch.Tensor], wanted: set[int], device: str) -> Table:
        found = Table()
        for tensor in tensors:
            if tensor.device.type == device and (pointer := storage_pointer(tensor)) in wanted:
                found.setdefault(pointer, Refs()).append(tensor)
        return found

    @staticmethod
    def _find_gradients(tensors: Iterable[torch.Tensor], wanted: set[int]) -> Table:
        """Map a gradient's address to the leaves that own it: C++ holds ``.grad``, Python cannot see that."""
        found = Table()
        for tensor in tensors:
            gradient = gradient_of(tensor)
            if gradient is not None and (pointer := storage_pointer(gradient)) in wanted:
                found.setdefault(pointer, Refs()).append(tensor)
        return found


def _graph_text(root: str, names: Counter) -> str:
    """``the graph of tensor `loss`, saved by ExpBackward0``; at most three names, the commonest first."""
    return f"the graph of {root}, saved by {', '.join(name for name, _ in names.most_common(3))}"


_RANK = {
    kind: rank
    for rank, kind in enumerate(
        ("list", "dict", "attribute", "closure", "default", "hook", "graph", "global", "frame", "out", "traceback")
    )
}
