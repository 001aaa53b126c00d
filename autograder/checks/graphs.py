"""Does a result still hang on its autograd graph, and how long is that graph?"""

from __future__ import annotations

import torch

from autograder.checks.nested import tensors_in
from autograder.checks.verdict import failed, passed
from autograder.errors import RecordError


def no_graph(x, *, exercise: str | None = None, points: float = 1) -> float:
    """Check that no tensor in ``x`` requires gradients or keeps a graph; plain numbers are fine.

    Raises CheckFailed, "keeps a graph".
    """
    for path, tensor in tensors_in(x):
        if tensor.requires_grad:
            node = type(tensor.grad_fn).__name__ if tensor.grad_fn is not None else "requires_grad=True"
            raise failed(
                "keeps a graph",
                "expected numbers, or tensors without a graph",
                f"the tensor{' at ' + path if path else ''} keeps {node}",
                exercise,
                advice="Store `.item()` or `.detach()` of it, or compute it under `torch.no_grad()`",
            )
    return passed("nothing keeps a graph", points)


def graph_depth(x, *, at_most: int, exercise: str | None = None, points: float = 1) -> float:
    """Check the length of the longest chain of autograd nodes behind any tensor in ``x`` (see ``depth_of``).

    Raises CheckFailed, "graph too deep".
    """
    depths = [(depth_of(tensor), path) for path, tensor in tensors_in(x)]
    deepest, path = max(depths, default=(0, ""))
    if deepest > at_most:
        raise failed(
            "graph too deep",
            f"{at_most} nodes allowed",
            f"the graph{' at ' + path if path else ''} is {deepest} nodes deep",
            exercise,
            advice="Cut the graph with `.detach()` where one step hands its state to the next",
        )
    return passed(f"the graph is {deepest} nodes deep, {at_most} allowed", points)


def depth_of(tensor: torch.Tensor) -> int:
    """Return the length in nodes of the longest chain of autograd nodes behind a tensor, 0 without a graph.

    A parameter's own node (``AccumulateGrad``) counts: it is the end of the chain. Each node is visited once, without
    recursion, so that very deep graphs can be measured. Raises RecordError for what is no tensor.
    """
    if not issubclass(type(tensor), torch.Tensor):
        raise RecordError(f"check.depth_of() expects a tensor, got {type(tensor).__name__}")
    root = tensor.grad_fn
    depths: dict = {None: 0}
    stack = [root]
    while stack:
        node = stack[-1]
        if node in depths:
            stack.pop()
            continue
        parents = [parent for parent, _ in node.next_functions]
        unknown = [parent for parent in parents if parent not in depths]
        if unknown:
            stack += unknown
        else:
            depths[node] = 1 + max((depths[parent] for parent in parents), default=0)
            stack.pop()
    return depths[root]
