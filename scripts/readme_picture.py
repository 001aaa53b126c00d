"""Draw docs/images/lesson01.png, the README's picture, from a real run of lesson 01's solution on the simulated GPU.

Run with the course's Python: .venv/bin/python scripts/readme_picture.py
"""

import contextlib
import io
import json
import os
from pathlib import Path

os.environ["AUTOGRADER_DEVICE"] = "simgpu"
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parents[1]
LESSON = "01_accumulated_metrics"
PICTURE = ROOT / "docs" / "images" / "lesson01.png"


def code_cells():
    """Yield the solution's code up to the cell that compares leak and fix."""
    notebook = json.loads((ROOT / "solutions" / LESSON / f"{LESSON}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "%pip" not in source:
            yield source
            if "ag.plot(before=before, after=after)" in source:
                return


def main():
    """Run the cells as a learner would, then draw what the last one recorded."""
    names = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        for source in code_cells():
            exec(compile(source, LESSON, "exec"), names)  # noqa: S102 - the course's own solution
    figure = names["ag"].plot(before=names["before"], after=names["after"])
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    print(f"{PICTURE.relative_to(ROOT)}: {figure.alt}")


if __name__ == "__main__":
    main()
