"""Runs a submitted notebook for its outputs, whatever it does: a dead or hanging kernel ends the run, not the grading."""

from __future__ import annotations

import threading
import time

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import Execute
from traitlets import Integer

from autograder.host import environment


class TolerantExecute(Execute):
    """nbgrader's ``Execute`` with a few differences.

    Autograded cells are not run: their output is the judge's verdict, and hidden tests stay out of the kernel that
    the submission controls. All cells together have a time limit, at which the kernel is killed whatever it does.
    If the kernel dies or no longer answers, the cell says so and the cells after it are left without output.
    Kernels compute on one thread: two at a time would fight for the cores.
    """

    total_timeout = Integer(300, help="Seconds that all cells of a notebook may take together.").tag(config=True)

    def preprocess(self, nb, resources=None, km=None):
        """Run the notebook; return it with whatever outputs it got."""
        self._stopped = ""
        self._deadline = time.monotonic() + self.total_timeout
        watchdog = threading.Timer(self.total_timeout, self._kill_kernel)
        watchdog.daemon = True
        watchdog.start()
        try:
            with environment(OMP_NUM_THREADS="1"):
                return super().preprocess(nb, resources, km)
        except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
            self.log.warning("The notebook could not be run to its end: %s", error)
            return nb, resources
        finally:
            watchdog.cancel()

    def preprocess_cell(self, cell, resources, index):
        """Run one cell, unless the run has ended or the judge will fill it."""
        if cell.cell_type != "code" or utils.is_grade(cell) or self._stopped:
            return cell, resources
        if time.monotonic() > self._deadline:
            self._end(cell, "OutOfTime", f"not run: the notebook had used its {self.total_timeout} s")
            return cell, resources
        try:
            return super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            late = time.monotonic() > self._deadline
            why = f"the notebook had used its {self.total_timeout} s" if late else "this cell ended the kernel"
            self._end(cell, "OutOfTime" if late else "DeadKernel", f"{why}; the cells below were not run")
        except CellTimeoutError:
            self._end(cell, "NoAnswer", "the kernel did not answer any more; the cells below were not run")
        return cell, resources

    def _end(self, cell, name: str, text: str) -> None:
        self._stopped = text
        cell.outputs.append(new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"]))

    def _kill_kernel(self) -> None:
        """Runs in the watchdog's thread; nbclient notices within a second that the kernel is gone."""
        process = getattr(getattr(self.km, "provisioner", None), "process", None)
        if process is not None:
            process.kill()
