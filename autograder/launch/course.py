"""Where the course lies on this machine."""

from __future__ import annotations

from pathlib import Path

from autograder.errors import LaunchError
from autograder.journal import store

START_LESSON = "00_start_here"


def course_root() -> Path:
    """Return the course's folder, found from this installed package.

    Raises
    ------
    LaunchError
        The package was installed without the course around it (as on Colab).
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "lessons").is_dir():
        raise LaunchError(
            f"expected the course's folder around the package, found only {root}. "
            "Clone the course's repository and run the command there"
        )
    return root


def journal(root: Path) -> Path:
    """Return the learner's journal of progress: the one of the folder we are in, else that of ``my_work/``."""
    near = store.journal_near(Path.cwd())
    return near if near.exists() else root / store.FOLDER / store.JOURNAL


def released_lessons(root: Path) -> dict[str, Path]:
    """Map each released lesson's name to its folder under ``notebooks/``, in order.

    Raises
    ------
    LaunchError
        No notebook has been released.
    """
    folders = {path.parent.name: path.parent for path in sorted((root / "notebooks").glob("*/*.ipynb"))}
    if not folders:
        raise LaunchError(f"expected released notebooks in {root / 'notebooks'}, found none. Run `make build`")
    return folders
