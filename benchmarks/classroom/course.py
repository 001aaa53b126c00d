"""Makes an nbgrader course with one assignment and any number of submissions: right, wrong, hanging, killing the kernel."""

from __future__ import annotations

import textwrap
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ASSIGNMENT = "ps1"
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "made-up"
c.Execute.timeout = {timeout}
"""
RIGHT = "def largest(tensor):\n    return tensor.flatten().max().item()\n"
WRONG = "def largest(tensor):\n    return tensor.flatten()[0].item()\n"
HANGS = "while True:\n    pass\n"
KILLS = "import os\nos._exit(1)\n"
IMPORTS = "import torch\nimport matplotlib.pyplot as plt\n"
WORK = """
model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(4)))
optimizer = torch.optim.Adam(model.parameters())
losses = []
for step in range({steps}):
    loss = model(torch.randn(128, 256)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""
PLOT = "plt.plot(losses)\nplt.title('loss')\nplt.show()\n"
TESTS = (
    "assert largest(torch.tensor([1.0, 3.0, 2.0])) == 3.0\n",
    "assert largest(torch.tensor([5.0, 3.0])) == 5.0\n",
    "### BEGIN HIDDEN TESTS\nassert largest(torch.arange(12.0).reshape(3, 4)) == 11.0\n### END HIDDEN TESTS\n",
)


def make_course(root: Path, timeout: int, steps: int) -> None:
    """Write settings and the instructor's notebook; a submission works for about ``steps`` optimizer steps."""
    (root / "source" / ASSIGNMENT).mkdir(parents=True)
    (root / "nbgrader_config.py").write_text(textwrap.dedent(CONFIG.format(timeout=timeout)))
    nbformat.write(_source(steps), root / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")


def submissions(released: NotebookNode, count: int, bad: bool) -> dict[str, NotebookNode]:
    """Return submissions by student: half right, half wrong; with ``bad``, one hangs and one kills its kernel."""
    answers = [RIGHT if number % 2 else WRONG for number in range(count)]
    if bad:
        answers[count // 3], answers[2 * count // 3] = HANGS, KILLS
    return {f"student{number:04}": answered(released, source) for number, source in enumerate(answers)}


def answered(released: NotebookNode, source: str) -> NotebookNode:
    """Return a copy of the released notebook with the exercise filled in."""
    copy = nbformat.from_dict(released)
    for cell in copy.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = source
    return copy


def hand_in(root: Path, student: str, notebook: NotebookNode) -> None:
    """Put a notebook where nbgrader expects a collected submission."""
    folder = root / "submitted" / student / ASSIGNMENT
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{ASSIGNMENT}.ipynb")


def _source(steps: int) -> NotebookNode:
    answer = f"### BEGIN SOLUTION\n{RIGHT}### END SOLUTION\n"
    cells = [
        new_markdown_cell("# The largest element"),
        new_code_cell(IMPORTS),
        new_code_cell(WORK.format(steps=steps).strip() + "\n"),
        new_code_cell(PLOT),
        new_code_cell(answer, metadata={"nbgrader": _about("largest", solution=True)}),
    ]
    for number, test in enumerate(TESTS):
        about = _about(f"test_{number}", grade=True, points=number + 1)
        cells.append(new_code_cell(test, metadata={"nbgrader": about}))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _about(grade_id: str, grade: bool = False, solution: bool = False, points: int = 0) -> dict:
    about = {
        "grade": grade, "grade_id": grade_id, "locked": grade, "schema_version": 3, "solution": solution, "task": False
    }  # fmt: skip
    return {**about, "points": points} if grade else about
