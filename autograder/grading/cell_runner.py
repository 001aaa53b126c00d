"""nbgrader's own way to run cells, in a kernel that may be warm and confined, and with limits of all kinds."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute

from autograder.grading.kernels import LARGEST_MESSAGE, GradingManager

_GLANCE_SECONDS = 0.1
_GLANCES_UNTIL_DEAD = 5
"""A kernel that ends closes its connection shortly before its end is known."""
_MIB = 1 << 20
_PER_MESSAGE = 100
"""Characters that a message counts besides its content, so that many empty ones are not free."""
_CUTTABLE = ("stream", "display_data", "update_display_data")
"""Kinds of output from which no score is read beyond their being there."""


class CellRunner(Execute):
    """nbgrader's ``Execute`` with a few differences.

    Cells in ``skip`` are not run. All cells together have a time limit, at which the kernel is killed whatever it
    does, and a limit on output. If the kernel dies or no longer answers, the cell says so and the cells after it are
    left without output. What a notebook's metadata say about kernels and skipped cells has no effect.
    """

    def __init__(self, manager: GradingManager, options, folder: str) -> None:
        super().__init__(
            timeout=options.cell_timeout,
            kernel_name="python3",
            shutdown_kernel="immediate",
            skip_cells_with_tag=secrets.token_hex(16),
        )
        self._manager, self._options, self._folder = manager, options, folder
        self.ended = ""
        self._deadline, self._characters, self._in_cell = 0.0, 0, 0
        self._too_much = ""

    def run(self, nb) -> None:
        """Run the notebook, in place. Afterwards ``ended`` says why it ended early, or is ""."""
        self._deadline = time.monotonic() + self._options.total_timeout
        watchdog = threading.Timer(self._options.total_timeout, self._kill_kernel)
        watchdog.daemon = True
        watchdog.start()
        try:
            self.preprocess(nb, {"metadata": {"path": self._folder}})
        finally:
            watchdog.cancel()

    def create_kernel_manager(self) -> GradingManager:
        """Use the manager that was given, not what the notebook or a configuration names."""
        self.km = self._manager
        return self.km

    def preprocess_cell(self, cell, resources, index):
        """Run one cell, unless the run has ended or the cell is to be skipped."""
        if cell.cell_type != "code" or index in self._options.skip or self.ended:
            return cell, resources
        if time.monotonic() > self._deadline:
            self._end(cell, "OutOfTime", f"not run: {self._time_used()}")
            return cell, resources
        self._in_cell = 0
        try:
            return super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self._end(cell, *self._why_dead())
        except CellTimeoutError:
            if self._manager.provisioner.why():
                self._end(cell, *self._why_dead())
            else:
                self._end(cell, "NoAnswer", "the kernel did not answer any more; the cells below were not run")
        return cell, resources

    def process_message(self, msg, cell, cell_index):
        """Take one message of the kernel into the cell's outputs, within the limits."""
        size = _PER_MESSAGE + _length(msg["content"]) + sum(map(len, msg.get("buffers", ())))
        self._characters += size
        self._in_cell += size
        if self._characters > self._options.max_output:
            self._too_much = f"more than {self._options.max_output / _MIB:g} MiB of output"
            self._kill_kernel()
            return None
        if self._in_cell > self._options.max_cell_output and msg["msg_type"] in _CUTTABLE:
            return self._cut(msg, cell)
        return super().process_message(msg, cell, cell_index)

    def _cut(self, msg, cell):
        """Say once per stream that more came; that something came on stderr is what a score depends on."""
        name = msg["content"].get("name", "stdout")
        limit = self._options.max_cell_output
        said = f"... the rest is left out: this cell's output is longer than {limit:,} bytes ...\n"
        if not any(out.output_type == "stream" and out.name == name and out.text == said for out in cell.outputs):
            cell.outputs.append(new_output("stream", name=name, text=said))

    def _why_dead(self) -> tuple[str, str]:
        rest = "the cells below were not run"
        if self._too_much:
            return "TooMuchOutput", f"{self._too_much}; {rest}"
        provisioner = self._manager.provisioner
        limit = provisioner.why()
        if not limit and time.monotonic() > self._deadline:
            return "OutOfTime", f"{self._time_used()}; {rest}"
        code = provisioner.child.returncode if provisioner.child else None
        if not limit and code == -signal.SIGXCPU:
            limit = f"used more than {self._options.confinement.cpu_seconds} s of processor time"
        return "DeadKernel", f"this cell ended the kernel{': it ' + limit if limit else ''}; {rest}"

    def _time_used(self) -> str:
        return f"the notebook had used its {self._options.total_timeout:g} s"

    def _end(self, cell, name: str, text: str) -> None:
        self.ended = f"{name}: {text}"
        cell.outputs.append(new_output("error", ename=name, evalue=text, traceback=[self.ended]))

    def _kill_kernel(self) -> None:
        """From any thread."""
        provisioner = self._manager.provisioner
        if provisioner is not None:
            provisioner.kill_now()

    async def _async_poll_kernel_alive(self) -> None:
        """Like nbclient's, which looks once a second; and end a kernel whose output was cut off though it lives."""
        cut_off = 0
        while True:
            await asyncio.sleep(_GLANCE_SECONDS)
            try:
                await self._async_check_alive()
            except DeadKernelError:
                self.task_poll_for_reply.cancel()
                return
            cut_off += self.kc.cut_off()
            if cut_off == _GLANCES_UNTIL_DEAD:
                self._too_much = f"more than {LARGEST_MESSAGE // _MIB} MiB of output at once"
                self._kill_kernel()


def _length(value) -> int:
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_length, value))
    return len(value) if isinstance(value, (str, bytes)) else 8
