"""What a notebook keeps: ``Out``, ``_`` and the last error. Run in a real IPython, in a process of its own."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import torch; from autograder.diagnosis import holders; storages = []", store_history=True)
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True)
shell.run_cell("answers = [(h.kind, h.text) for h in holders(storages[0])]", store_history=True)
print("ANSWERS" + json.dumps(shell.user_ns["answers"]))
"""
KEEP = "x = torch.ones(4); storages.append(x.untyped_storage())"


def answers_after(*cells: str) -> list[tuple[str, str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(cells=cells)], capture_output=True, text=True, timeout=120, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWERS"))
    return [tuple(answer) for answer in json.loads(line.removeprefix("ANSWERS"))]


def test_a_bare_last_expression_stays_in_out():
    """Is `Out[n]` named after the variable is gone, and `_` with it?"""
    assert set(answers_after(KEEP, "x", "del x")) == {
        ("out", "IPython's `Out[3]` (a cell's last expression)"),
        ("out", "IPython's `_` (the result of an earlier cell)"),
    }


def test_a_notebook_variable_is_a_global():
    assert answers_after(KEEP) == [("global", "global `x`")]


def test_a_failed_cell_keeps_the_frame():
    """Is the traceback found that IPython keeps of a cell that failed?"""
    cell = f"def step():\n    {KEEP}\n    raise ValueError\nstep()"
    found = answers_after(cell)
    assert found and {kind for kind, _ in found} == {"traceback"}
    assert found[0][1].startswith("local `x` of function `step`, kept by the traceback in `")


@pytest.mark.parametrize("ending", [";", "\nNone"])
def test_an_expression_that_is_not_echoed_is_not_kept(ending):
    assert answers_after(KEEP, "x" + ending) == [("global", "global `x`")]
