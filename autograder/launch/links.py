"""Addresses of a published course. Without a repository in pyproject.toml there are none, and nothing shows a link."""

from __future__ import annotations

import re
from pathlib import Path

from autograder.launch.course import START_LESSON

_TABLE = re.compile(r'(?m)^\[tool\.autograder\]\nrepository = "([^"\n]*)"\n')


def published_repository(root: Path) -> str | None:
    """Return ``"OWNER/REPO"`` as ``autograder publish`` wrote it, or None."""
    found = _TABLE.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    return found.group(1) if found else None


def with_repository(pyproject: str, repository: str | None) -> str:
    """Return the text of pyproject.toml with the repository set, or taken away when None."""
    without = re.sub(r"\n?" + _TABLE.pattern.removeprefix("(?m)"), "", pyproject, flags=re.MULTILINE).rstrip("\n") + "\n"
    return without if repository is None else f'{without}\n[tool.autograder]\nrepository = "{repository}"\n'


def colab_link(repository: str, notebook: str) -> str:
    """Return Colab's address of a notebook, given as ``notebooks/NAME/NAME.ipynb``."""
    return f"https://colab.research.google.com/github/{repository}/blob/HEAD/{notebook}"


def binder_link(repository: str, notebook: str) -> str:
    """Return Binder's address of a notebook, opened in JupyterLab."""
    return f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree/{notebook}"


def install_address(repository: str) -> str:
    """Return what pip installs where the package is missing (on Colab)."""
    return f"git+https://github.com/{repository}"


def badges(repository: str, notebook: str = f"notebooks/{START_LESSON}/{START_LESSON}.ipynb") -> str:
    """Return both launch badges as one line of Markdown."""
    colab = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab_link(repository, notebook)})"
    binder = f"[![Launch on Binder](https://mybinder.org/badge_logo.svg)]({binder_link(repository, notebook)})"
    return f"{colab} {binder}"
