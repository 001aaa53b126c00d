"""A virtual environment like Colab's: IPython 7.34, ipywidgets 7.7, torch, matplotlib, and none of the classroom tools.

torch and matplotlib are linked from the environment that runs the tests, with all they need, instead of being
installed a second time. The environment is kept between runs, in pytest's cache.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

#: Versions on Colab's image of June 2026; those below IPython 8 are what a newer tool would break on.
INSTALLED = (
    "ipython==7.34.0",
    "ipykernel==6.17.1",
    "ipywidgets==7.7.1",
    "jupyter-client==7.4.9",
    "notebook==6.5.7",
    "traitlets<6",
)
LINKED = ("torch", "matplotlib")


def colab_python(cache: Path) -> Path:
    """Return the environment's Python, building it when the cache has none.

    Raises ``subprocess.CalledProcessError`` when the packages cannot be installed (no network).
    """
    home = cache / _key()
    python = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        venv.create(home, with_pip=True, clear=True)
        site = next(home.glob("lib/python*/site-packages"))
        for found in _with_dependencies(LINKED):
            _link(found, site)
        pip(python, "install", "--quiet", *INSTALLED)
        ready.touch()
    return python


def pip(python: Path, *arguments: str) -> str:
    """Run this environment's pip and return what it prints."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


def versions(python: Path) -> dict[str, str]:
    """Return what is installed: version by name."""
    lines = pip(python, "list", "--format=freeze").split()
    return dict(line.split("==", 1) for line in lines)


def _key() -> str:
    parts = [sys.version, sys.prefix, *INSTALLED, *(f"{name}{distribution(name).version}" for name in LINKED)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _with_dependencies(names: tuple[str, ...]) -> list[Distribution]:
    """Return the distributions of these names and of everything they need here."""
    waiting, found = list(names), {}
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return list(found.values())


def _link(found: Distribution, site: Path) -> None:
    """Make a distribution importable from another site folder, by links to its top-level files and folders."""
    tops = {path.parts[0] for path in found.files or [] if path.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))))
