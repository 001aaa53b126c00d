"""A notebook's run for its outputs: whatever it does to its kernel, the run ends, and says why."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from traitlets.config import Config

from autograder.grading.execution import TolerantExecute

IGNORES_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
REPLACES_RUN_CELL = (
    "import IPython, time\nget_ipython().run_cell = None\n"
    "IPython.core.interactiveshell.InteractiveShell.run_cell = lambda *a, **k: time.sleep(600)"
)


def run(*sources: str, cell: int, total: int) -> list[str]:
    """Run cells with limits in seconds; return the name of each cell's error, or its output."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    settings = Config({"TolerantExecute": {"timeout": cell, "total_timeout": total}})
    notebook, _ = TolerantExecute(config=settings).preprocess(notebook, {"metadata": {}})
    return [" ".join(out.get("ename") or out.get("text", "") for out in cell.outputs) for cell in notebook.cells]


def test_a_kernel_that_does_not_answer_ends_the_run():
    """GIVEN a cell that cannot be interrupted, THEN the run ends with a reason instead of an exception."""
    ran = run("print('hello')", IGNORES_INTERRUPTS, "print(1)", cell=2, total=60)
    assert (ran[0].strip(), ran[1], ran[2]) == ("hello", "NoAnswer", "")


@pytest.mark.parametrize("before", ["1", REPLACES_RUN_CELL], ids=["endless", "run_cell replaced"])
def test_the_notebooks_limit_holds_inside_a_cell(before):
    """GIVEN a cell that may take longer than the whole notebook, THEN the kernel is killed at the notebook's limit."""
    _, endless, last = run(before, "while True: pass", "print(1)", cell=600, total=6)
    assert (endless, last) == ("OutOfTime", "")


def test_a_kernel_that_dies_says_so():
    """GIVEN a cell that ends its kernel, THEN the cell says so, and no other runs."""
    assert run("import os\nos._exit(1)", "print(1)", cell=20, total=60) == ["DeadKernel", ""]
