"""Climb from an object to the names that keep it alive."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import sys
import types
from collections.abc import Mapping

import torch

from .chains import Anchor, Chain, Link, in_words
from .functions import describe_function, variable_of_cell, variable_of_default
from .graphwalk import GraphWalk
from .heap import Budget, Referrers, Refs, Table, local_ids, running_locals
from .notebook import NotebookNames

_DEEPEST = 12
_WIDEST = 2000
_MODULE_DICTS = {"_buffers", "_parameters", "_modules"}
_CTX = torch._C._FunctionBase


class Climber:
    """Finds, for one object at a time, the shortest chain from each of its direct holders."""

    def __init__(self, budget: Budget, graph: GraphWalk):
        self.referrers = Referrers(budget)
        self._graph = graph
        self._running = running_locals()
        self._notebook = NotebookNames()
        self._best = Table()
        self._active = set()
        self._budget = budget

    def prepare(self, objects) -> None:
        """Look up the referrers of many objects and of their holders, one pass over the heap per level."""
        level = Refs(objects)
        for _ in range(_DEEPEST):
            found = self.referrers.visible(self.referrers.look_up(level))
            level = Refs(itertools.islice((o for o in found if not _is_top(o)), _WIDEST))
            if not level:
                return

    def is_held(self, obj: object) -> bool:
        """Does anything in Python hold ``obj``, or is it only kept alive from C++?"""
        return id(obj) in self._running or bool(self.referrers.of(obj))

    def holders(self, obj: object) -> list[Chain]:
        """Return one chain per direct holder of ``obj``, easiest to explain first."""
        chains = [Chain(self._local_anchor(obj))] if id(obj) in self._running else []
        if isinstance(obj, _CTX):
            chains.extend(Chain(Anchor("graph", "in the graph of", root)) for root in self.graph_roots(obj))
        for parent in self.referrers.of(obj):
            chains.extend(self._through(parent, obj))
        return sorted(chains, key=lambda chain: chain.cost)

    def best(self, obj: object) -> Chain | None:
        """Return the easiest chain that leads to ``obj``, named where possible; None where nothing holds it."""
        if id(obj) in self._best:
            return self._best[id(obj)]
        if id(obj) in self._active or len(self._active) >= _DEEPEST or not self._budget.left():
            return None
        self._active.add(id(obj))
        chain = next(iter(self.holders(obj)), None)
        self._active.discard(id(obj))
        self._best[id(obj)] = chain
        return chain

    def graph_roots(self, node: object) -> list[str]:
        """Return, in words, the tensors that keep the graph node ``node`` alive, those with a name first."""
        found = [(self.best(root) or Chain(None), root) for root in self._graph.roots(node)]
        found.sort(key=lambda pair: pair[0].cost)
        words = (_gradient_words(root, chain) if root.is_leaf else _root_words(chain) for chain, root in found)
        return list(dict.fromkeys(words))

    def _local_anchor(self, obj: object) -> Anchor:
        local = self._running[id(obj)]
        return Anchor("frame", "local", local.name, f"of function `{local.function}`")

    def _through(self, parent: object, child: object) -> list[Chain]:
        if isinstance(parent, types.CellType):
            return self._through_cell(parent)
        if inspect.isframe(parent):
            return self._through_frame(parent, child)
        if inspect.isfunction(parent):
            return []
        if isinstance(parent, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)):
            return self._through_generator(parent, child)
        if type(parent) is functools._lru_cache_wrapper:
            name = getattr(parent, "__name__", "?")
            return [Chain(Anchor("dict", "cache", "lru_cache", f"of function `{name}`"))]
        if isinstance(parent, dict):
            return self._through_dict(parent, child)
        if isinstance(parent, (list, tuple, set, frozenset)) or type(parent).__name__ == "deque":
            return self._through_sequence(parent, child)
        return self._through_object(parent, child)

    def _through_cell(self, cell) -> list[Chain]:
        chains = []
        for function in self.referrers.of(cell):
            for closed in self._functions_closing_over(function):
                name = variable_of_cell(closed, cell)
                kind, words = describe_function(closed, self)
                chains.append(Chain(Anchor(kind, "closure variable", name, f"of {words}")))
        return chains

    def _functions_closing_over(self, closure: object) -> list:
        """The cell's referrer is the tuple ``function.__closure__``; its referrers are the functions."""
        if not isinstance(closure, tuple):
            return []
        return [f for f in self.referrers.of(closure) if inspect.isfunction(f) and f.__closure__ is closure]

    def _through_frame(self, frame, child) -> list[Chain]:
        function = frame.f_code.co_name
        holding = [chain for chain in map(self.best, self.referrers.of(frame)) if chain is not None]
        kept_by = min(holding, key=lambda chain: chain.cost, default=None)
        kept = ", kept by a traceback"
        if kept_by is not None and kept_by.anchor:
            kept = f", kept by the traceback in `{_TRACEBACK_STEPS.sub('', kept_by.path)}`"
        return [
            Chain(Anchor("traceback", "local", name, f"of function `{function}`{kept}"))
            for name, identity in local_ids(frame)
            if identity == id(child)
        ]

    def _through_generator(self, generator, child) -> list[Chain]:
        frame = generator.gi_frame if inspect.isgenerator(generator) else None
        if frame is None:
            return []
        after = f"of generator `{generator.__name__}`, which has not finished"
        return [Chain(Anchor("frame", "local", n, after)) for n, identity in local_ids(frame) if identity == id(child)]

    def _through_dict(self, mapping: dict, child) -> list[Chain]:
        keys = [key for key, value in mapping.items() if value is child]
        if self._notebook.owns(mapping):
            return [Chain(anchor) for anchor in self._notebook.anchors(mapping, keys)]
        if _is_namespace(mapping):
            return [Chain(_global_anchor(mapping, key)) for key in keys]
        owners = self.referrers.of(mapping)
        if any(inspect.isframe(owner) for owner in owners):
            return []  # a copy of a frame's variables; the frame itself is another holder
        chains = []
        for owner in owners:
            chains.extend(self._as_attribute(owner, mapping, keys))
        return chains or self._as_item(mapping, f"[{_short(keys[0])}]" if keys else "")

    def _as_attribute(self, owner, mapping: dict, keys: list) -> list[Chain]:
        """``mapping`` is the ``__dict__`` of ``owner`` (or its keyword defaults): name the attribute instead."""
        if inspect.isfunction(owner):
            if owner.__dict__ is mapping:
                return [Chain(Anchor("attribute", "attribute", k, f"of function `{owner.__name__}`")) for k in keys]
            if owner.__kwdefaults__ is not mapping:
                return []
            kind, words = describe_function(owner, self, otherwise="default")
            return [Chain(Anchor(kind, "default argument", key, f"of {words}")) for key in keys]
        if isinstance(owner, type):
            name = owner.__name__
            return [Chain(Anchor("attribute", "attribute", key, f"of class {name}")) for key in keys]
        if getattr(owner, "__dict__", None) is not mapping:
            return self._as_module_entry(owner, mapping, keys)
        return [self._extend(owner, Link("attr", str(key), _type_name(owner))) for key in keys]

    def _as_module_entry(self, owner, mapping: dict, keys: list) -> list[Chain]:
        """Buffers, parameters and children of an ``nn.Module`` read as its attributes."""
        if not isinstance(owner, dict) or not any(owner.get(name) is mapping for name in _MODULE_DICTS):
            return []
        modules = [m for m in self.referrers.of(owner) if isinstance(m, torch.nn.Module)]
        return [self._extend(m, _child_link(m, key)) for m in modules for key in keys]

    def _through_sequence(self, sequence, child) -> list[Chain]:
        if isinstance(sequence, tuple):
            defaults = [f for f in self.referrers.of(sequence) if getattr(f, "__defaults__", None) is sequence]
            if defaults:
                return [self._default_chain(f, child) for f in defaults if inspect.isfunction(f)]
        index = next((i for i, value in enumerate(sequence) if value is child), None)
        return self._as_item(sequence, "[...]" if index is None else f"[{index}]")

    def _default_chain(self, function, child) -> Chain:
        kind, words = describe_function(function, self, otherwise="default")
        return Chain(Anchor(kind, "default argument", variable_of_default(function, child), f"of {words}"))

    def _as_item(self, container, key: str) -> list[Chain]:
        return [self._extend(container, Link("item", key, type(container).__name__))]

    def _extend(self, parent, link: Link) -> Chain:
        return (self.best(parent) or Chain(None)).then(link)

    def _through_object(self, parent, child) -> list[Chain]:
        if isinstance(parent, types.ModuleType) or parent is child:
            return []
        name = attribute_name(parent, child)
        if name is None:
            return [self._extend(parent, Link("part", "(...)", type(parent).__name__))]
        return [self._extend(parent, Link("attr", name, _type_name(parent)))]


def attribute_name(parent: object, child: object) -> str | None:
    """Return the attribute of ``parent`` whose value is ``child``; properties are not called."""
    for name, value in (getattr(parent, "__dict__", None) or {}).items():
        if value is child:
            return name
    for cls in type(parent).__mro__:
        for name, descriptor in vars(cls).items():
            stored = isinstance(descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType))
            if stored and name not in _COSTLY and _reads_as(parent, name, child):
                return name
    return None


def _root_words(chain: Chain) -> str:
    if chain.anchor is None:
        return "a tensor that no variable names"
    holder = in_words(chain)
    if not chain.links and holder.kind in ("global", "frame"):
        return f"tensor `{chain.anchor.name}`"
    return f"a tensor held by {holder.text}"


def _gradient_words(leaf: torch.Tensor, chain: Chain) -> str:
    """A leaf has no graph of its own: it carries that of its gradient, which ``create_graph=True`` made."""
    if chain.anchor is None:
        return "the gradient of a tensor without a name (a circle: only `.grad = None` opens it)"
    return f"the gradient of {type(leaf).__name__} `{chain.path}`"


_TRACEBACK_STEPS = re.compile(r"(\.tb_next|\.__traceback__|\.__context__|\.__cause__)+$")
_COSTLY = {"grad", "__dict__", "__weakref__", "__annotations__"}


def _reads_as(parent: object, name: str, child: object) -> bool:
    if issubclass(type(parent), torch.Tensor):
        return False
    try:
        return getattr(parent, name) is child
    except Exception:  # noqa: BLE001 - a foreign type's descriptor may raise anything
        return False


def _child_link(module, key) -> Link:
    if str(key).isidentifier():
        return Link("attr", str(key), type(module).__name__)
    return Link("attr", f"{key}", type(module).__name__)


def _type_name(obj: object) -> str:
    return f"ctx of {type(obj).__name__}" if isinstance(obj, _CTX) else type(obj).__name__


def _is_namespace(mapping: Mapping) -> bool:
    return "__builtins__" in mapping or ("__name__" in mapping and "__spec__" in mapping)


def _is_top(obj: object) -> bool:
    """True for objects above which nothing is worth knowing."""
    return isinstance(obj, (types.ModuleType, type)) or (isinstance(obj, dict) and _is_namespace(obj))


def _global_anchor(namespace: dict, name) -> Anchor:
    module = namespace.get("__name__", "__main__")
    if module == "sys":
        return Anchor("global", "", f"sys.{name}")
    outside = module in sys.modules and module != "__main__"
    return Anchor("global", "global", str(name), f"of module `{module}`" if outside else "")


def _short(key: object) -> str:
    return repr(key) if isinstance(key, (str, int, float, bool)) and len(repr(key)) <= 24 else "..."
