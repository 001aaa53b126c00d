"""The program's history of the allocator: which stacks it notes, where they begin, and who else records beside it."""

import gc
import signal
import subprocess
import sys

import pytest
import torch

from autograder.simgpu.allocator import CachingAllocator
from autograder.simgpu.cuda_shim import cuda_means_simgpu
from autograder.simgpu.ledger import LEDGER
from autograder.simgpu.recording import Recorder
from autograder.trace import record

memory = torch.cuda.memory


@pytest.fixture
def cuda(device):
    """torch.cuda, with an empty cache and no history before and after."""
    with cuda_means_simgpu():
        torch.cuda.empty_cache()
        yield torch.cuda
        memory._record_memory_history(None)
        torch.cuda.empty_cache()


def trace() -> list[dict]:
    return memory._snapshot()["device_traces"][0]


def names(entries) -> set[str]:
    return {frame["name"] for entry in entries for frame in entry["frames"]}


class Holder:
    """What is allocated in one function and let go in another."""

    def thealloc(self):
        self.x = torch.rand(3, 4, device="cuda")

    def thefree(self):
        self.x = None


@pytest.mark.parametrize(
    ("context", "seen"),
    [
        (
            "all",
            {
                "alloc": "thealloc",
                "free_requested": "thefree",
                "free_completed": "thefree",
                "segment_free": "empty_cache",
            },
        ),
        ("alloc", {"alloc": "thealloc", "free_requested": "thealloc", "free_completed": "thealloc"}),
        ("state", {}),
        (None, {}),
    ],
)
def test_whose_stack_does_each_event_carry(context, seen, cuda):
    """ "all" notes who freed, also of empty_cache(); "alloc" who allocated, in all events; "state" and None nobody."""
    holder = Holder()
    memory._record_memory_history(context=context)
    holder.thealloc()
    holder.thefree()
    torch.cuda.empty_cache()
    entries = trace()
    assert [entry["action"] for entry in entries] == [
        "segment_alloc", "alloc", "free_requested", "free_completed", "segment_free",
    ]  # fmt: skip
    for action, name in seen.items():
        found = names(entry for entry in entries if entry["action"] == action)
        assert name in found, (action, found)
    everything = names(entries)
    assert ("thefree" in everything) == ("empty_cache" in everything) == (context == "all")
    assert ("thealloc" in everything) == (context in ("all", "alloc"))


@pytest.mark.parametrize("context", ["all", "alloc", "state", None])
def test_blocks_in_use_know_who_allocated_them(context, cuda):
    holder = Holder()
    memory._record_memory_history(context=context)
    holder.thealloc()
    (segment,) = memory._snapshot()["segments"]
    assert ("thealloc" in names([segment["blocks"][0]])) == (context is not None) and segment["frames"] == []
    frames = memory._allocation_traceback(holder.x.data_ptr())
    assert (frames is not None and frames[0]["name"] == "thealloc") == (context is not None)
    assert memory._allocation_traceback(holder.x.data_ptr() + 4) is None


def test_state_keeps_one_entry(cuda):
    """Does enabled="state" keep the stacks of what is in use, and of the events only the last?"""
    memory._record_memory_history("state")
    kept = [torch.rand(3, device="cuda") for _ in range(5)]
    (entry,) = trace()
    assert entry["action"] == "alloc" and entry["addr"] == kept[-1].data_ptr()
    used = [b for s in torch.cuda.memory_snapshot() for b in s["blocks"] if b["state"] == "active_allocated"]
    assert len(used) == 5 and all(block["frames"] for block in used)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"enabled": "on"}, "expected state to be 'state', 'all', or None"),
        ({"enabled": 1}, "expected state"),
        ({"context": "some"}, "expected context to be 'state', 'alloc', 'all', or None"),
        ({"stacks": "java"}, "expected stacks to be 'python', or 'all'"),
        ({"stacks": None}, "expected stacks"),
        ({"skip_actions": ["nothing"]}, "Unknown TraceEntry action: nothing"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_cuda_s_words(arguments, words, cuda):
    for record_history in (memory._record_memory_history, torch.simgpu.memory._record_memory_history):
        with pytest.raises(RuntimeError, match=words):
            record_history(**arguments)
    assert not torch._C._cuda_isHistoryEnabled()


def test_the_form_of_older_versions(cuda):
    """Do the booleans of before torch 2.1 mean what they meant?"""
    memory._record_memory_history(True)
    x = torch.rand(3, device="cuda")
    assert len(trace()) == 1 and not trace()[0]["frames"] and torch.cuda.memory_snapshot()[0]["blocks"][0]["frames"]
    memory._record_memory_history(True, trace_alloc_max_entries=100, trace_alloc_record_context=True)
    del x
    y = torch.rand(3, device="cuda")
    assert names(entry for entry in trace() if entry["action"] == "alloc")
    memory._record_memory_history(False)
    assert trace() == [] and y is not None


def test_the_trace_begins_when_it_is_asked_for(cuda):
    """GIVEN a recording of this package WHEN the program asks for its history THEN it finds its own events alone."""
    with record(device=torch.device("simgpu", 0), timeout=None) as recording:
        x = torch.empty(1, device="cuda")
        del x
        assert trace() == [] and not torch._C._cuda_isHistoryEnabled()
        memory._record_memory_history()
        y = torch.empty(1, device="cuda")
        assert [entry["action"] for entry in trace()] == ["alloc"]
        assert not [f for s in torch.cuda.memory_snapshot() for b in s["blocks"][1:] for f in b["frames"]]
        memory._record_memory_history(None)
        assert trace() == []
        del y
        z = torch.empty(1, device="cuda")
    actions = [entry["action"] for entry in recording.snapshot()["device_traces"][0]]
    assert actions.count("alloc") == 3 and actions.count("free_completed") == 2, "its own history went on"
    assert z is not None


def test_snapshots_are_noted_after_they_were_taken(cuda):
    """Is the last event of a snapshot the last one before it, as PyTorch's tests read it?"""
    memory._record_memory_history()
    x = torch.rand(3, device="cuda")
    assert trace()[-1]["action"] == "alloc"
    assert trace()[-1]["action"] == "snapshot"
    del x
    torch.cuda.empty_cache()
    assert trace()[-1]["action"] == "segment_free"


def test_frames_begin_at_the_callers_line(cuda):
    """Is the innermost frame the line that CUDA would show, and is there no frame of this package?"""
    memory._record_memory_history()
    line = test_frames_begin_at_the_callers_line.__code__.co_firstlineno
    x = torch.rand(311, 411, device="cuda")
    y = x * 2
    z = torch.zeros_like(y).cuda().clone()
    w = torch.ones(3).to("cuda")
    entries = [entry for entry in trace() if entry["action"] == "alloc"]
    assert [(e["frames"][0]["filename"], e["frames"][0]["line"] - line) for e in entries] == [
        (__file__, offset) for offset in (4, 5, 6, 6, 7)
    ]
    layer = torch.nn.Linear(3, 3).to("cuda")
    layer(w).sum().backward()
    everything = [frame for entry in trace() for frame in entry["frames"]]
    assert not [frame for frame in everything if "/autograder/" in frame["filename"].removesuffix(__file__)]
    assert not [frame for frame in everything if frame["filename"].endswith("torch/_ops.py")]
    assert {"forward", "_call_impl", "backward", "to"} <= {frame["name"] for frame in everything}
    assert z is not None


def test_operators_called_by_name_keep_their_frame(cuda):
    """Is torch/_ops.py shown where the program itself called it, as on CUDA?"""
    x = torch.ones(3, device="cuda")
    memory._record_memory_history()
    y = torch.ops.aten.mul.Tensor(x, x)
    frames = trace()[-1]["frames"]
    assert [frame["filename"].rsplit("/", 1)[1] for frame in frames[:2]] == ["_ops.py", "test_history.py"]
    assert y is not None


def test_who_frees_is_noted_of_tensors_from_before(cuda):
    """Is the freeing stack known of a tensor that was there when recording began, and not asked for afterwards?"""
    holder, other = Holder(), Holder()
    holder.thealloc()
    other.thealloc()
    memory._record_memory_history()
    holder.thefree()
    assert "thefree" in names(trace())
    memory._record_memory_history(context="alloc")
    count = len(trace())
    other.thefree()
    assert "thefree" not in names(trace()[count:])
    assert LEDGER._on_death.__name__ == "append" and torch.cuda.memory_allocated() == 0


def test_garbage_is_freed_by_who_collects_it(cuda):
    """Does a cycle's tensor carry the stack on which the collector ran, and go as soon as without a history?"""
    memory._record_memory_history()
    gc.collect()
    cycle = [torch.rand(300, device="cuda")]
    cycle.append(cycle)
    del cycle

    def thecollector():
        gc.collect()

    thecollector()
    assert torch.cuda.memory_allocated() == 0 and "thecollector" in names(trace())


def test_metadata_is_noted_with_events(cuda):
    memory._record_memory_history()
    memory._set_memory_metadata("epoch 3")
    x = torch.rand(3, device="cuda")
    assert memory._get_memory_metadata() == "epoch 3"
    memory._set_memory_metadata("")
    y = torch.rand(3, device="cuda")
    assert [e["user_metadata"] for e in trace() if e["action"] == "alloc"] == ["epoch 3", ""]
    assert x is not y


def test_actions_to_skip_and_histories_to_clear(cuda):
    memory._record_memory_history(skip_actions=["free_requested", "segment_alloc"])
    x = torch.rand(3, device="cuda")
    del x
    assert [e["action"] for e in trace()] == ["alloc", "free_completed"]
    memory._record_memory_history(clear_history=True)
    assert trace() == []


def test_torch_s_own_reports_read_it(cuda, tmp_path):
    """Do PyTorch's functions that write files work on it?"""

    def as_is(lines, flamegraph_script=None):
        return lines

    memory._record_memory_history()
    x = torch.rand(311, 411, device="cuda")
    memory._dump_snapshot(str(tmp_path / "snapshot.pickle"))
    snapshot = memory._snapshot()
    from torch.cuda import _memory_viz

    assert "<script" in _memory_viz.trace_plot(snapshot) and "test_history.py" in _memory_viz.segments(snapshot, as_is)
    assert (tmp_path / "snapshot.pickle").stat().st_size
    assert torch.cuda.memory_snapshot(include_traces=False) == snapshot["segments"]
    assert x is not None


def test_two_recorders_of_one_allocator_see_their_own_frames():
    """GIVEN two recorders with stacks of their own WHEN one ends THEN the other goes on, each with its own frames."""
    allocator = CachingAllocator(1 << 30)
    first = Recorder(frames=lambda: [{"filename": "first", "line": 1, "name": "f"}])
    second = Recorder(frames=lambda: [{"filename": "second", "line": 2, "name": "s"}], context="all")
    allocator.attach(first)
    allocator.attach(second)
    block = allocator.malloc(1000)
    for recorder, name in ((first, "first"), (second, "second")):
        snapshot = allocator.snapshot(recorder=recorder)
        assert snapshot["segments"][0]["blocks"][0]["frames"][0]["filename"] == name
        assert {f["filename"] for e in snapshot["device_traces"][0] for f in e["frames"]} == {name}
    allocator.detach(second)
    allocator.free(block)
    assert [entry[0] for entry in first.entries][-2:] == ["free_requested", "free_completed"]
    assert [entry[0] for entry in second.entries][-1] == "snapshot"
    assert allocator.snapshot()["segments"][0]["blocks"][0]["frames"] == []


INTERRUPTED = """
import os, signal, threading, time
import torch
from autograder import simgpu
from autograder.simgpu.ledger import LEDGER

device = simgpu.enable()
torch.simgpu.memory._record_memory_history(max_entries=100)

def allocate():
    end = time.monotonic() + 3
    while time.monotonic() < end:
        xs = [torch.empty(10, device=device) for _ in range(3)]
        xs = None

def interrupted():
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        allocate()
    except KeyboardInterrupt:
        return 1
    return 0

caught = sum(interrupted() for _ in range(12))
LEDGER.drain()
print(caught, torch.simgpu.memory_allocated())
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Ctrl-C cannot be sent to a process here")
def test_interrupts_while_frees_are_noted_reach_the_program():
    """GIVEN interrupts while storages die with their stacks noted THEN the program gets them, and no byte stays."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{INTERRUPTED}",
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "Exception ignored" not in done.stderr, done.stderr[-2000:]
    caught, left = map(int, done.stdout.split())
    assert caught >= 10 and left == 0
