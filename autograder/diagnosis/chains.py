"""A chain of references, from a variable somebody wrote down to the object in question, put into words."""

from __future__ import annotations

from typing import NamedTuple

_CONTAINERS = {"list": "list", "tuple": "list", "set": "list", "frozenset": "list", "deque": "list"}


class Anchor(NamedTuple):
    """Where a chain ends: something with a name.

    ``kind`` is one of the kinds of a ``Holder``; ``before`` and ``after`` are the words around the name.
    """

    kind: str
    before: str
    name: str
    after: str = ""


class Link(NamedTuple):
    """One reference: ``op`` is "item", "attr" or "part"; ``owner`` the name of the referring object's type."""

    op: str
    key: str
    owner: str


class Chain(NamedTuple):
    """``anchor`` is None when nothing with a name leads here; ``links`` go from the anchor to the object."""

    anchor: Anchor | None
    links: tuple[Link, ...] = ()

    def then(self, link: Link) -> Chain:
        return Chain(self.anchor, (*self.links, link))

    @property
    def cost(self) -> float:
        """Lower is easier to explain to the learner."""
        return _ANCHOR_COST[self.anchor.kind if self.anchor else "nothing"] + len(self.links)

    @property
    def path(self) -> str:
        """The expression that reaches the object, such as ``trainer.history[0]``."""
        return "" if self.anchor is None else self.anchor.name + _spell(self.links)


_ANCHOR_COST = {
    "global": 0, "attribute": 1, "frame": 1, "closure": 2, "default": 2, "hook": 2, "dict": 3, "graph": 4,
    "out": 20, "traceback": 30, "nothing": 100,
}  # fmt: skip


def _spell(links) -> str:
    return "".join(f".{link.key}" if link.op == "attr" else link.key for link in links)


class Words(NamedTuple):
    kind: str
    text: str


def in_words(chain: Chain) -> Words:
    """Say who holds the object at the end of the chain.

    A container is named by the variable that holds it ("list `losses`"), an object by the attribute
    ("attribute `history` of Trainer"), the rest by its anchor.
    """
    container = None
    links = chain.links
    if links and links[-1].op == "item":
        container = links[-1].owner
        links = links[:-1]
    attribute = max((i for i, link in enumerate(links) if link.op == "attr"), default=None)
    if attribute is not None:
        return _attribute_words(chain, links, attribute, container)
    if chain.anchor is None:
        return _unnamed_words(links, container)
    anchor = chain.anchor
    name = f"`{anchor.name}{_spell(links)}`"
    if container and anchor.kind in ("global", "frame"):
        return Words(_CONTAINERS.get(container, "dict"), _join(container, name, anchor.after))
    return Words(anchor.kind, _join(anchor.before, name, anchor.after) + _is_a(container))


def _attribute_words(chain: Chain, links, index: int, container: str | None) -> Words:
    link = links[index]
    owner = link.owner
    in_graph = chain.anchor is not None and chain.anchor.kind == "graph"
    if chain.anchor is not None and not in_graph:
        owner += f" `{chain.anchor.name}{_spell(links[:index])}`"
    text = f"attribute `{link.key}{_spell(links[index + 1 :])}` of {owner}{_is_a(container)}"
    if chain.anchor is None:
        return Words("attribute", text + ", in a reference cycle (freed only when the garbage collector runs)")
    if in_graph:
        return Words("graph", f"{text}, in the graph of {chain.anchor.name}")
    if chain.anchor.kind == "global":
        return Words("attribute", text)
    kind = chain.anchor.kind if chain.anchor.kind in ("out", "traceback") else "attribute"
    return Words(kind, f"{text}; `{chain.anchor.name}` is a {_join(chain.anchor.before, chain.anchor.after)}")


def _unnamed_words(links, container: str | None) -> Words:
    kind = _CONTAINERS.get(container or "", "dict")
    what = container or (links[-1].owner if links else "object")
    return Words(kind, f"a {what} without a name, reached only from C++ (graph node metadata, a hook) or a cycle")


def _is_a(container: str | None) -> str:
    return f" (a {container})" if container else ""


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)
