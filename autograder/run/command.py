"""The command: choose the device, execute the script while recording, report however it ended."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autograder.errors import RunError
from autograder.run import relaunched
from autograder.run.children import followed
from autograder.run.report import Report, as_json, as_text
from autograder.run.script import Script
from autograder.run.stepping import KINDS
from autograder.run.watch import Watch
from autograder.session import size_in_bytes
from autograder.units import GiB

DEFAULT_CAPACITY = 8 * GiB
DEVICES = ("simgpu", "cuda")


@dataclass(frozen=True)
class Options:
    """What may be asked of a run.

    Attributes
    ----------
    capacity : str
        Size of each simulated GPU, such as "8GiB"; 8 GiB if empty.
    devices : int
        How many simulated GPUs there are.
    device : str
        "simgpu", or "cuda" for the real one.
    steps_from : str
        "auto", "optimizer", "forward", "time", or the line of a loop in the script.
    json : bool
        Whether the report is JSON.
    output, plot, snapshot : str
        Files for the report (stderr if empty), a picture and a memory snapshot.
    module : bool
        Whether the script is named as a module, as for ``python -m``.
    """

    capacity: str = ""
    devices: int = 1
    device: str = "simgpu"
    steps_from: str = "auto"
    json: bool = False
    output: str = ""
    plot: str = ""
    snapshot: str = ""
    module: bool = False
    loop: int | None = field(init=False, default=None)
    kind: str | None = field(init=False, default=None)

    def __post_init__(self):
        if self.device not in DEVICES:
            raise RunError(f"--device {self.device!r} is no device; expected simgpu or cuda")
        if self.devices < 1:
            raise RunError(f"--devices {self.devices} makes no sense; expected 1 or more")
        if self.steps_from.isdecimal():
            object.__setattr__(self, "loop", int(self.steps_from))
            object.__setattr__(self, "kind", "loop")
        elif self.steps_from in KINDS[:-1]:
            object.__setattr__(self, "kind", self.steps_from)
        elif self.steps_from != "auto":
            raise RunError(
                f"--steps-from {self.steps_from!r} marks no steps; expected auto, optimizer, forward, time, "
                "or the line in which a loop of the script begins"
            )


def run_script(path: str, arguments: list[str], options: Options | None = None) -> int:
    """Execute a script as ``python path arguments`` would, report on its memory, and return its exit status.

    Its stdout is left alone: the report goes to stderr, or to a file.

    Raises
    ------
    RunError
        If the script cannot be read, is not Python, or an option makes no sense; nothing was executed then.
    SetupError
        If the device asked for cannot be had.
    """
    options = options or Options()
    script = None if options.module else Script(path, options.loop)
    with _device(options) as device, contextlib.ExitStack() as stack:
        if script is None:
            script = Script.of_module(path, options.loop)
        if options.device != "cuda":
            this = script.file, script.spec and script.spec.name, _capacity(options), options.devices
            stack.enter_context(followed(*this))
            stack.enter_context(relaunched.followed(*this))
        watch = Watch(device, path, options.kind)
        with watch:
            outcome = script.execute(arguments, watch.loop_passed)
            watch.ended(outcome.error)
        report = watch.report(outcome)
        _deliver(report, watch, options)
        del outcome, watch
    return report.status


@contextlib.contextmanager
def _device(options: Options) -> Iterator:
    """The device to watch; for a simulated one, cuda means it meanwhile."""
    import torch

    if options.device == "cuda":
        if not torch.cuda.is_available():
            raise RunError("--device cuda: PyTorch finds no CUDA device here; leave it out to use the simulated one")
        yield torch.device("cuda", torch.cuda.current_device())
        return
    from autograder.simgpu.cuda_shim import cuda_means_simgpu

    with cuda_means_simgpu(_capacity(options), options.devices) as device:
        yield torch.device(device.type, _local_rank(options.devices))


def _capacity(options: Options) -> int:
    return size_in_bytes(options.capacity, "--capacity") if options.capacity else DEFAULT_CAPACITY


def _local_rank(devices: int) -> int:
    """The device this process is meant to use, where torchrun started it (its LOCAL_RANK); else the first."""
    rank = os.environ.get("LOCAL_RANK", "")
    return int(rank) if rank.isdecimal() and int(rank) < devices else 0


def _deliver(report: Report, watch: Watch, options: Options) -> None:
    sys.stdout.flush()
    notes = list(_files(watch, options))
    text = json.dumps(as_json(report), indent=2) if options.json else as_text(report, _can_draw(options))
    if options.output:
        Path(options.output).write_text(text + "\n", encoding="utf-8")
        text = ""
    for line in filter(None, (text, *notes)):
        print(line, file=sys.stderr)


def _can_draw(options: Options) -> bool:
    """Whether the report's reader sees block characters."""
    return bool(options.output) or (getattr(sys.stderr, "encoding", None) or "").lower().startswith("utf")


def _files(watch: Watch, options: Options) -> Iterator[str]:
    trace = watch.recording.trace
    if options.plot and trace.samples:
        from autograder.plots import plot

        Path(options.plot).write_bytes(plot(trace, prediction=False).png())
    elif options.plot:
        yield f"no picture in {options.plot}: there were no steps to draw"
    if options.snapshot:
        trace.dump(options.snapshot)
