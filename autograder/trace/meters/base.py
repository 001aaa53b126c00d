"""What a recorder needs from a device, whichever device it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

from autograder.trace.samples import Counters
from autograder.trace.sites import Place, Site, SiteFinder, site_of

HISTORY_EVENTS = 20_000
"""Allocator events kept for the snapshot of a recording; older ones are dropped."""


class Tag(NamedTuple):
    """Noted on each allocation while recording: which recording, which step, which line."""

    recording: int
    step: int
    place: Place | None


class Survivor(NamedTuple):
    """A storage allocated while recording that is still alive.

    ``nbytes`` is what was asked for and ``block_size`` what the allocator gave, both in bytes; ``data_ptr`` is the
    address that ``tensor.data_ptr()`` shows.
    """

    nbytes: int
    block_size: int
    step: int
    site: Site | None
    data_ptr: int


class Meter(Protocol):
    """Counts one device's memory between ``start()`` and ``stop()``.

    ``source`` is "cuda", "simgpu" or "cpu". ``step`` is set by the recorder and goes onto every allocation's tag.
    """

    source: str
    device: torch.device
    step: int

    def start(self) -> None:
        """Begin to watch allocations."""

    def stop(self) -> None:
        """Stop watching; survivors can still be asked for."""

    def counters(self) -> Counters:
        """Read the counters now; ``peak`` is the highest since ``reset_peak``."""

    def reset_peak(self) -> None:
        """Let the peak start again from what is allocated now."""

    def survivors(self) -> list[Survivor]:
        """List the storages tagged by this recording that are alive now."""

    def addresses(self) -> set[int] | None:
        """Return the addresses of all storages alive on the device now, None where they are not all known."""

    def snapshot(self) -> dict:
        """Return the allocator's state in the format of ``torch.cuda.memory._snapshot()``."""


class LedgerMeter:
    """The meter of any device whose books are a ledger: ``counters()``, ``watch(callback)``, ``live()``.

    The peak is kept here, from the callback at each allocation, so that a step which resets the device's own peak
    statistics changes nothing. ``after_allocation``, if set, is called after each allocation was noted.
    """

    source: str

    def __init__(self, ledger, device: torch.device, recording: int) -> None:
        self.device = device
        self._ledger = ledger
        self._peak = 0
        self.begin_again(recording)
        self._sites = SiteFinder()
        self.after_allocation: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to watch allocations."""
        self._ledger.watch(self._note)
        self.reset_peak()

    def stop(self) -> None:
        """Stop watching; survivors can still be asked for."""
        self._ledger.watch(None)

    def counters(self) -> Counters:
        """Read the counters now; the peak is the highest since ``reset_peak``."""
        counters = self._ledger.counters(*self._which())
        return Counters(*counters[: len(Counters._fields)])._replace(peak=max(self._peak, counters.allocated))

    def reset_peak(self) -> None:
        """Let the peak start again from what is allocated now."""
        self._peak = self._allocated()

    def begin_again(self, recording: int) -> None:
        """Take another recording's number: tags so far belong to none from now on."""
        self._recording = recording
        self.step = -1

    @property
    def step(self) -> int:
        """The step that allocations belong to, -1 before the first."""
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._step = step
        self._tags: dict[int, Tag] = {}

    def survivors(self) -> list[Survivor]:
        """List the storages tagged by this recording that are alive now, oldest first."""
        words = _Words()
        mine = [record for record in self._ledger.live() if self._is_mine(record.tag)]
        return [_survivor(record, words) for record in sorted(mine, key=lambda record: record.tag.step)]

    def addresses(self) -> set[int] | None:
        """Return the addresses of all storages in the books."""
        return {record.data_ptr for record in self._ledger.live() if record.nbytes}

    def _is_mine(self, tag) -> bool:
        return isinstance(tag, Tag) and tag.recording == self._recording

    def _note(self, record) -> None:
        record.tag = self._tag(self._place(record))
        allocated = self._allocated()
        self._peak = max(self._peak, allocated)
        if self.after_allocation is not None:
            self.after_allocation()

    def _tag(self, place: Place | None) -> Tag:
        tags = self._tags
        return tags.get(id(place)) or tags.setdefault(id(place), Tag(self._recording, self._step, place))

    def _place(self, record) -> Place | None:
        return self._sites.find()

    def _which(self) -> tuple:
        """What to tell the ledger about the device; nothing where it has only one."""
        return ()

    def _allocated(self) -> int:
        raise NotImplementedError


class _Words:
    """Sites by place, each put into words once: a cell's number can take a search through the history."""

    def __init__(self) -> None:
        self._known: dict = {}

    def site(self, place: Place | None) -> Site | None:
        """Return the site of a noted line."""
        key = (id(place.code), place.line) if place is not None else None
        if key not in self._known:
            self._known[key] = site_of(place)
        return self._known[key]


def _survivor(record, words: _Words) -> Survivor:
    block = record.block
    size = block.size if block is not None else record.nbytes
    return Survivor(record.nbytes, size, record.tag.step, words.site(record.tag.place), record.data_ptr)
