"""Switching the program's own history: what torch._C offers to torch.cuda.memory's functions (torch 2.13).

Sources: _record_memory_history in torch/csrc/cuda/memory_snapshot.cpp, THCPModule_* in torch/csrc/cuda/Module.cpp. There are no
C++ stacks, compile contexts and annotations to record; what asks for them is taken and changes nothing.
"""

from __future__ import annotations

import sys
import threading

from autograder.simgpu import frames
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.recording import ACTIONS

_here = threading.local()


def begin(
    enabled: str | None,
    context: str | None,
    stacks: str,
    max_entries: int,
    clear_history: bool = False,
    compile_context: bool = False,
    global_record_annotations: bool = False,
    skip_actions=(),
) -> None:
    """Record events of every device ("all"), or only the stacks of blocks in use ("state"); None ends it.

    Raises RuntimeError, in CUDA's words, for anything else, and for an action to skip that does not exist.
    """
    _check(enabled in (None, "state", "all"), "expected state to be 'state', 'all', or None")
    _check(context in (None, "state", "alloc", "all"), "expected context to be 'state', 'alloc', 'all', or None")
    _check(stacks in ("python", "all"), "expected stacks to be 'python', or 'all'")
    _record(enabled is not None, context, max_entries if enabled == "all" else 1, clear_history, skip_actions)


def begin_legacy(
    enabled: bool,
    record_context: bool = True,
    trace_alloc_max_entries: int = 1,
    trace_alloc_record_context: bool = False,
    record_cpp_context: bool = False,
    clear_history: bool = False,
    compile_context: bool = False,
    global_record_annotations: bool = False,
    skip_actions=(),
) -> None:
    """The same, as versions before 2.1 asked for it (_record_memory_history_legacy)."""
    context = "alloc" if trace_alloc_record_context else "state" if record_context else None
    _record(bool(enabled), context, trace_alloc_max_entries, clear_history, skip_actions)


def is_on() -> bool:
    """Is the program's history being kept? (isHistoryEnabled)"""
    return LEDGER.allocator.records_history


def set_metadata(text: str) -> None:
    """What this thread's events are noted with from now on (setUserMetadata)."""
    _here.metadata = str(text)


def get_metadata() -> str:
    """What this thread's events are noted with (getUserMetadata)."""
    return getattr(_here, "metadata", "")


def traceback_of(address: int) -> list[dict] | None:
    """The frames that allocated the block at an address; None if none begins there, or none were noted."""
    record = LEDGER.record_at(address)
    if record is None or record.data_ptr != address:
        return None
    return (record.block.stacks or {}).get(record.block.pool.allocator.history)


def _record(enabled: bool, context: str | None, max_entries: int, clear: bool, skipped) -> None:
    for action in skipped or ():
        _check(action in ACTIONS, f"Unknown TraceEntry action: {action}")
    LEDGER.drain()
    for allocator in LEDGER.allocators:
        allocator.record_history(
            enabled,
            min(max_entries, sys.maxsize),
            frames.stack,
            context=context,
            clear=clear,
            skipped=skipped or (),
            metadata=get_metadata,
        )
    LEDGER.note_frees()


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RuntimeError(message)
