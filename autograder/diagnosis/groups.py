"""Survivors of a recording, grouped by the line that allocated them and by size."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from autograder.units import human

from .holders import Holder

_MOST_SIZES = 3  # a line that leaves more sizes behind than this ...
_FEW_OF_EACH = 3  # ... and fewer of each than this becomes one group, with a range of sizes


@dataclass
class Group:
    """Storages from one line of the learner's code.

    Attributes
    ----------
    site : Site or None
        The line that allocated them.
    count, nbytes, occupied : int
        How many, the bytes they asked for together, and the bytes of the blocks they got.
    smallest, largest : int
        Bytes of the smallest and of the largest; equal unless the line leaves many sizes behind.
    steps : tuple[int, ...]
        The steps that allocated them, ascending.
    holders : list[Holder]
        Who keeps them alive, most first; empty when nobody was found or they are gone.
    """

    site: object
    count: int
    nbytes: int
    occupied: int
    smallest: int
    largest: int
    steps: tuple[int, ...]
    pointers: tuple[int, ...] = field(repr=False, default=())
    holders: list[Holder] = field(default_factory=list)

    @property
    def each(self) -> str:
        """Bytes of one storage in words, a range where they differ."""
        return (
            human(self.largest) if self.smallest == self.largest else f"{human(self.smallest)} to {human(self.largest)}"
        )


def group_survivors(survivors) -> list[Group]:
    """Group by line and size, largest total first."""
    by_site = defaultdict(lambda: defaultdict(list))
    for survivor in survivors:
        by_site[survivor.site][survivor.nbytes].append(survivor)
    groups = []
    for site, by_size in by_site.items():
        members = list(by_size.values())
        count = sum(map(len, members))
        if len(members) > _MOST_SIZES and count < _FEW_OF_EACH * len(members):
            members = [[one for same in members for one in same]]
        groups.extend(_group(site, same) for same in members)
    return sorted(groups, key=lambda group: -group.occupied)


def _group(site, survivors) -> Group:
    sizes = [survivor.nbytes for survivor in survivors]
    return Group(
        site=site,
        count=len(sizes),
        nbytes=sum(sizes),
        occupied=sum(survivor.block_size for survivor in survivors),
        smallest=min(sizes),
        largest=max(sizes),
        steps=tuple(sorted({survivor.step for survivor in survivors})),
        pointers=tuple(survivor.data_ptr for survivor in survivors if survivor.data_ptr),
    )


def split_growing(groups: list[Group], first_step: int, last_step: int) -> tuple[list[Group], list[Group]]:
    """Return ``(growing, other)``.

    A group grows if it has members from several steps and the oldest is from the first half of the
    recording: what each step replaces (gradients, the last output, a window of fixed length) is young.
    """
    middle = (first_step + last_step) / 2
    growing = [group for group in groups if len(group.steps) > 1 and group.steps[0] <= middle]
    return growing, [group for group in groups if not any(group is other for other in growing)]
