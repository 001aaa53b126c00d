"""Write a published course's address where links need it: pyproject.toml and README.md; the notebooks follow by a build."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from autograder.authoring.launchers import Address, badges
from autograder.errors import LaunchError
from autograder.launch.course import START_LESSON

START, END = "<!-- launch badges -->", "<!-- /launch badges -->"
_BLOCK = re.compile(f"{START}.*?{END}", re.DOTALL)
_TABLE = re.compile(r"\n*^\[tool\.autograder\]\n(?:(?!\[).*\n?)*", re.MULTILINE)
_OWNER_REPO = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}")
_GITHUB_REMOTE = re.compile(r"(?:https?://(?:[^@/]+@)?|ssh://git@|git@)github\.com[:/](.+?)(?:\.git)?/?")


def publish(root: Path, repository: str | None = None, branch: str = "main") -> Address:
    """Write the course's public address; return it.

    Parameters
    ----------
    repository : str, optional
        ``"OWNER/REPO"`` on GitHub, or its address; by default the git remote ``origin``.
    branch : str
        The branch that launched notebooks are read from.

    Raises
    ------
    LaunchError
        The name cannot be a repository's, there is no remote to take it from, or README.md lost its markers.
    """
    if not _BRANCH.fullmatch(branch):
        raise LaunchError(f"expected the name of a branch, such as main, found {branch!r}")
    address = Address(repository_name(repository or remote_repository(root)), branch)
    _write(root, address)
    return address


def unpublish(root: Path) -> None:
    """Take every launch link away again."""
    _write(root, None)


def repository_name(text: str) -> str:
    """Return ``OWNER/REPO`` from it or from a GitHub address; raise ``LaunchError`` for anything else."""
    address = _GITHUB_REMOTE.fullmatch(text)
    name = address.group(1) if address else text
    if not _OWNER_REPO.fullmatch(name) or name.endswith(".git"):
        raise LaunchError(
            f"expected OWNER/REPO of a GitHub repository, such as ada/gpu-memory, found {text!r}. "
            "Try: make publish REPO=OWNER/REPO"
        )
    return name


def remote_repository(root: Path) -> str:
    """Return the address of the git remote ``origin``."""
    git = subprocess.run(
        ["git", "-C", str(root), "remote", "get-url", "origin"],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if git.returncode:
        raise LaunchError("no repository was named and git has no remote `origin`. Try: make publish REPO=OWNER/REPO")
    return git.stdout.strip()


def _write(root: Path, address: Address | None) -> None:
    """Change both files, or neither."""
    pyproject, readme = root / "pyproject.toml", root / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = START + (f"\n{badges(address, START_LESSON)}\n" if address else "") + END
    changed, count = _BLOCK.subn(lambda _: block, text)
    if count != 1:
        raise LaunchError(
            f"expected one block {START} ... {END} in README.md, found {count}. Put it back and try again"
        )
    settings = _with_address(pyproject.read_text(encoding="utf-8"), address)
    readme.write_text(changed, encoding="utf-8")
    pyproject.write_text(settings, encoding="utf-8")


def _with_address(pyproject: str, address: Address | None) -> str:
    """Return the text of pyproject.toml with its ``[tool.autograder]`` table set, or without it when None."""
    without = _TABLE.sub("\n", pyproject).rstrip("\n") + "\n"
    if address is None:
        return without
    return f'{without}\n[tool.autograder]\nrepository = "{address.repository}"\nbranch = "{address.branch}"\n'
