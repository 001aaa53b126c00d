"""Put one exercise's empty stub back into the learner's notebook; the answer is kept, every other cell stays."""

from __future__ import annotations

import json
import os
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from autograder.errors import LaunchError
from autograder.journal import store
from autograder.launch import workspace
from autograder.launch.workspace import FOLDER

KEPT = ".kept"


def reset(root: Path, lesson: str, exercise: str) -> list[str]:
    """Reset an exercise in ``my_work/`` and return what to tell the learner.

    The notebook is edited as JSON: nothing but the source and the outputs of that one cell changes. The answer is
    written to ``my_work/.kept/`` first.

    Raises
    ------
    LaunchError
        No such lesson or exercise; the notebook is missing or unreadable; it has no cell of that exercise, or two.
    """
    name = workspace.find_lesson(root, lesson)
    stub = _stub(root / "notebooks" / name / f"{name}.ipynb", name, exercise)
    path = root / FOLDER / name / f"{name}.ipynb"
    shown = path.relative_to(root)
    notebook = _read(path, shown, name)
    cell = _cell(notebook, exercise, shown, name)
    answer = _text(cell["source"])
    if answer == stub:
        return [f"{exercise} in {shown} is empty already; nothing was changed."]
    kept = _keep(root / FOLDER / KEPT, f"{name}.{exercise}", answer)
    cell["source"], cell["outputs"], cell["execution_count"] = stub.splitlines(keepends=True), [], None
    content = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    workspace.replace(path, content.encode())
    store.append(root / FOLDER / store.JOURNAL, store.entry(name, exercise, "", "reset"))
    return [
        f"{exercise} in {shown} is empty again; every other cell is as it was.",
        f"Your answer is kept in {kept.relative_to(root)}",
        "Is the notebook open in JupyterLab? Choose File > Reload Notebook from Disk before you save it.",
    ]


def _stub(released: Path, lesson: str, exercise: str) -> str:
    cells = json.loads(released.read_text(encoding="utf-8"))["cells"]
    kinds = {
        _grade_id(cell): cell for cell in cells if cell["metadata"].get("autograder", {}).get("kind") == "exercise"
    }
    if exercise in kinds:
        return _text(kinds[exercise]["source"])
    near = get_close_matches(exercise, kinds, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(kinds) or 'none'}"
    raise LaunchError(f"expected an exercise of lesson {lesson}, found {exercise!r}: {hint}")


def _read(path: Path, shown: Path, lesson: str) -> dict:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(notebook, dict) and isinstance(notebook.get("cells"), list):
            return notebook
        reason = "it has no cells"
    except FileNotFoundError:
        raise LaunchError(f"expected your notebook {shown}, found none. `make learn` copies it there") from None
    except (ValueError, OSError) as error:
        reason = str(error)
    raise LaunchError(
        f"expected a notebook in {shown}, but it cannot be read: {reason}. It was left as it is; "
        f"make fetch LESSON={lesson} puts a fresh one beside it"
    )


def _cell(notebook: dict, exercise: str, shown: Path, lesson: str) -> dict:
    found = [cell for cell in notebook["cells"] if isinstance(cell, dict) and _grade_id(cell) == exercise]
    if not found:
        raise LaunchError(
            f"expected the cell of {exercise} in {shown}, found none: it was deleted. "
            f"make fetch LESSON={lesson} puts a fresh notebook beside yours to copy it from"
        )
    if len(found) > 1:
        raise LaunchError(
            f"expected one cell of {exercise} in {shown}, found {len(found)}: it was copied. Delete all but one"
        )
    return found[0]


def _grade_id(cell: dict) -> str | None:
    about = (cell.get("metadata") or {}).get("nbgrader")
    return about.get("grade_id") if isinstance(about, dict) else None


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _keep(folder: Path, stem: str, answer: str) -> Path:
    """Write the answer under a name that does not exist yet."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp, count = datetime.now().strftime("%Y%m%d-%H%M%S"), 1
    path = folder / f"{stem}.{stamp}.py"
    while os.path.lexists(path):
        count += 1
        path = folder / f"{stem}.{stamp}-{count}.py"
    with open(path, "x", encoding="utf-8") as file:
        file.write(answer + "\n")
    return path
