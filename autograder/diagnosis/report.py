"""The answer to "what grew, where was it allocated, who holds it?", in text and as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from autograder.units import human

from .groups import Group

_SHOWN_GROUPS = 5
_SHOWN_HOLDERS = 3


@dataclass(repr=False)
class Diagnosis:
    """What a recording left behind.

    Attributes
    ----------
    grew : bool
        False when allocated memory did not grow after warm-up.
    growth, slope : float
        Bytes in all, and bytes per step.
    groups : list[Group]
        What grew, largest first.
    larger : bool
        True when the growth is in larger tensors, not in more of them.
    graph_nodes : int
        Autograd nodes reachable from live tensors when the diagnosis was made.
    notes : list[str]
        What the reader must know: released since, or the search stopped early.
    """

    grew: bool
    growth: float
    slope: float
    steps: int
    allocated: int
    where: str
    groups: list[Group] = field(default_factory=list)
    larger: bool = False
    graph_nodes: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """One sentence: whether anything grew, and by how much."""
        if not self.grew:
            return f"Nothing grew: {human(self.allocated)} allocated after warm-up and at the end ({self.where})."
        text = f"Grew {human(self.growth)} over {self.steps} steps, {human(self.slope)} per step ({self.where})."
        return text + (" The growth is in larger tensors, not in more of them." if self.larger else "")

    def __repr__(self) -> str:
        lines = [self.headline]
        for group, site in self._shown():
            lines += [
                f"  {_how_many(group)}",
                f"    allocated at {site}",
                *(f"    held by {holder}" for holder in group.holders[:_SHOWN_HOLDERS]),
            ]
        return "\n".join(lines + self._rest())

    def _repr_html_(self) -> str:
        head = f"<p>{as_code(self.headline)}</p>"
        tail = "".join(f"<p>{as_code(line)}</p>" for line in self._rest())
        if not self.groups:
            return head + tail
        rows = "".join(_row(group, site) for group, site in self._shown())
        titles = "".join(
            f'<th style="text-align:left">{name}</th>' for name in ("What grew", "Allocated at", "Held by")
        )
        return f"{head}<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>{tail}"

    def _shown(self) -> list[tuple[Group, str]]:
        """The first groups with their line in words, which are not repeated from one group to the next."""
        shown = self.groups[:_SHOWN_GROUPS]
        previous = [None, *(group.site for group in shown)]
        return [
            (group, "the same line" if group.site is not None and group.site == before else _site(group))
            for group, before in zip(shown, previous, strict=False)
        ]

    def _rest(self) -> list[str]:
        lines = []
        if len(self.groups) > _SHOWN_GROUPS:
            hidden = self.groups[_SHOWN_GROUPS:]
            lines.append(
                f"and {len(hidden)} smaller group{'s' if len(hidden) > 1 else ''}, {human(sum(group.occupied for group in hidden))} in all."
            )
        return lines + self.notes


def _how_many(group: Group) -> str:
    blocks = f" (in a block of {human(group.occupied / group.count)})" if group.occupied > 1.5 * group.nbytes else ""
    if group.count == 1:
        return f"1 tensor of {group.each}{blocks}"
    return f"{group.count:,} tensors of {group.each} each{blocks}, {human(group.occupied)} in all"


def _site(group: Group) -> str:
    return str(group.site) if group.site is not None else "a line that was not seen"


def _row(group: Group, site: str) -> str:
    held = "<br>".join(as_code(str(holder)) for holder in group.holders[:_SHOWN_HOLDERS]) or "nobody found"
    cells = (as_code(_how_many(group)), as_code(site), held)
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"


def as_code(text: str) -> str:
    """Escape, and set what stands between backticks as code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
