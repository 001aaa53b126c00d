"""Launch badges and the install cell, written only once the course has a public address.

The address is ``[tool.autograder] repository = "OWNER/REPO"`` in pyproject.toml (optionally ``branch``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from autograder.errors import LaunchError

BADGES_MARK = "{{badges}}"

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")

_INSTALL = """\
# Installs the course where it is missing, such as on Colab; elsewhere it does nothing.
from importlib.util import find_spec
if find_spec("autograder") is None:
    %pip install -q --no-deps git+https://github.com/{repository}
missing = " ".join(name for name in ("matplotlib", "ipywidgets") if find_spec(name) is None)
if missing:
    %pip install -q {{missing}}"""

_NO_INSTALL = """\
# Says how to install the course where it is missing.
from importlib.util import find_spec
if find_spec("autograder") is None:
    raise ImportError("autograder is not installed here; run `make learn` or `pip install .` in the course folder")"""


class Address(NamedTuple):
    """Where the course is published."""

    repository: str
    branch: str = "main"


def read_address(root: Path) -> Address | None:
    """Return the published address from ``root/pyproject.toml``, or None where none is set."""
    path = Path(root) / "pyproject.toml"
    if not path.exists():
        return None
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("autograder", {})
    except tomllib.TOMLDecodeError as error:
        raise LaunchError(f"{path} is not TOML: {error}") from None
    repository = table.get("repository")
    if repository is None:
        return None
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        raise LaunchError(f'{path}: [tool.autograder] repository must read "OWNER/REPO", found {repository!r}')
    return Address(repository, table.get("branch", "main"))


def badges(address: Address | None, slug: str) -> str:
    """Return Markdown launch badges of one lesson; nothing without an address."""
    if address is None:
        return ""
    path = f"notebooks/{slug}/{slug}.ipynb"
    colab = f"https://colab.research.google.com/github/{address.repository}/blob/{address.branch}/{path}"
    binder = f"https://mybinder.org/v2/gh/{address.repository}/{address.branch}?labpath={path}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Launch on Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def with_badges(source: str, address: Address | None, slug: str) -> str:
    """Replace ``{{badges}}``; without an address its line goes."""
    if address is not None:
        return source.replace(BADGES_MARK, badges(address, slug))
    without = re.sub(rf"^[ \t]*{re.escape(BADGES_MARK)}[ \t]*(\n|$)", "", source, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", without.replace(BADGES_MARK, "")).rstrip()


def install_cell(address: Address | None) -> str:
    """Return the source of the generated first code cell. torch, IPython and notebook are never touched."""
    return _INSTALL.format(repository=address.repository) if address else _NO_INSTALL
