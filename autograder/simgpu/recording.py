"""Who records what an allocator does, and with which stacks: the running program, and this package for itself.

CUDA's allocator has one history, which torch.cuda.memory._record_memory_history switches. Here that one (``history``) is
the program's alone; a recording of this package keeps its own beside it (``attach``), and neither sees, empties or ends the
other. Rules are those of DeviceCachingAllocator::recordHistory, maybeGatherContext and record_trace
(c10/cuda/CUDACachingAllocator.cpp, torch 2.13). Imports no torch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from autograder.simgpu.pools import DEFAULT_ID

ACTIONS = (
    *("alloc", "free_requested", "free_completed", "segment_alloc", "segment_free", "segment_map", "segment_unmap"),
    *("snapshot", "oom"),
)  # parseTraceEntryAction, c10/core/CachingDeviceAllocator.h line 171
_now = time.time_ns
Frames = list  # of {"filename": str, "line": int, "name": str}, innermost first
CONTEXTS = (None, "state", "alloc", "all")
"""Which stacks are asked for, each more than the one before: RecordContext's NEVER, STATE, ALLOC and ALL."""


class Recorder:
    """The last ``max_entries`` actions of an allocator, oldest first (RingBuffer), without those in ``skipped``.

    ``frames()``, if given, returns where the caller stands and must not allocate. ``context`` says when it is asked: at
    allocations, to be kept while a block is in use ("state"), and with the action too ("alloc"), and also where
    memory is freed ("all"). ``metadata()`` is a text to note with each action.
    """

    def __init__(self, max_entries: int = 100_000, frames: Callable[[], Frames] | None = None, context="alloc"):
        self.entries: deque = deque()
        self.is_on = False
        self.set(max_entries, frames, context)

    def set(self, max_entries: int, frames=None, context="alloc", skipped=(), metadata=None) -> None:
        """Change what is kept from now on. Raises ValueError for an action or a context that does not exist."""
        unknown = sorted(set(skipped) - set(ACTIONS))
        if unknown:
            raise ValueError(f"expected actions to skip among {', '.join(ACTIONS)}, found {unknown[0]!r}")
        self.entries = deque(self.entries, maxlen=max(1, max_entries))
        self.frames = frames
        self.level = 0 if frames is None else CONTEXTS.index(context)
        self._keeps_frames = self.level >= CONTEXTS.index("alloc")
        self._skipped = frozenset(skipped)
        self._metadata = metadata

    def add(self, action: str, address: int, size: int, frames: Frames | None, pool) -> None:
        """Note one action in a pool; for ``oom``, ``address`` is the number of free bytes (record_trace)."""
        if action in self._skipped:
            return
        metadata = "" if self._metadata is None else self._metadata()
        self.entries.append((action, address, size, frames if self._keeps_frames else None, _now(), pool, metadata))

    def as_dicts(self) -> list[dict]:
        """The entries as ``device_traces`` holds them."""
        return [
            {
                "action": action,
                "device_free" if action == "oom" else "addr": address,
                "size": size,
                "stream": 0 if pool is None else pool.stream,
                "time_us": nanoseconds // 1000,
                "frames": frames or [],
                "compile_context": "N/A",
                "user_metadata": metadata,
                "pool_id": id_of(pool),
            }
            for action, address, size, frames, nanoseconds, pool, metadata in self.entries
        ]


def id_of(pool) -> tuple[int, int]:
    """The id of the private pool that a pool belongs to, or of the default one (owner_MempoolId)."""
    return DEFAULT_ID if pool is None or pool.family.owner is None else pool.family.owner.id


class Recording:
    """The recorders of CachingAllocator. What a block or an action is noted with is a dictionary: frames by recorder."""

    recorders: tuple[Recorder, ...] = ()
    stacks_at_alloc: Callable[[], dict] | None = None
    stacks_at_free: Callable[[], dict] | None = None

    def record_history(
        self,
        enabled: bool,
        max_entries: int = 100_000,
        frames=None,
        *,
        context="all",
        clear: bool = False,
        skipped=(),
        metadata=None,
    ) -> None:
        """Keep the program's history, or stop and forget it (recordHistory). Arguments are those of Recorder.

        Blocks keep the frames they were noted with. Raises ValueError for an action that does not exist.
        """
        history = self.history
        history.set(max_entries, frames, context, skipped, metadata)
        if clear or not enabled:
            history.entries.clear()
        if enabled:
            self.attach(history)
        else:
            self.detach(history)

    @property
    def records_history(self) -> bool:
        """Whether the program's history is being kept (isHistoryEnabled)."""
        return self.history.is_on

    def attach(self, recorder: Recorder) -> None:
        """Let a recorder note what happens from now on."""
        recorder.is_on = True
        self._set_recorders((*(r for r in self.recorders if r is not recorder), recorder))

    def detach(self, recorder: Recorder) -> None:
        """Let it note nothing more; what it noted stays."""
        recorder.is_on = False
        self._set_recorders(tuple(r for r in self.recorders if r is not recorder))

    def _set_recorders(self, recorders: tuple[Recorder, ...]) -> None:
        self.recorders = recorders
        self.stacks_at_alloc = _asker(recorders, "state")
        self.stacks_at_free = _asker(recorders, "all")

    def stacks_for_release(self) -> dict | None:
        """The stacks of who gives cached memory back (maybeGatherContext(RecordContext::ALL))."""
        return None if self.stacks_at_free is None else self.stacks_at_free()

    def note(self, action: str, address: int, size: int, stacks: dict | None = None, pool=None, otherwise=None) -> None:
        """Have every recorder note an action with its own frames, or without those with the frames in ``otherwise``."""
        if not stacks and not otherwise:
            for recorder in self.recorders:
                recorder.add(action, address, size, None, pool)
            return
        for recorder in self.recorders:
            frames = stacks.get(recorder) if stacks else None
            if frames is None and otherwise:
                frames = otherwise.get(recorder)
            recorder.add(action, address, size, frames, pool)


def _asker(recorders: tuple[Recorder, ...], context: str) -> Callable[[], dict] | None:
    """What asks the recorders that want stacks in this context; None if none does."""
    asked = [recorder for recorder in recorders if recorder.level >= CONTEXTS.index(context)]
    if not asked:
        return None
    if len(asked) == 1:
        (only,) = asked
        frames = only.frames
        return lambda: {only: frames()}
    return lambda: {recorder: recorder.frames() for recorder in asked}
