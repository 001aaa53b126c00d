"""Publishing writes every launch link, taking it back leaves none."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from autograder.authoring.launchers import read_address
from autograder.errors import LaunchError
from autograder.launch.publish import publish, repository_name, unpublish

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def course(tmp_path):
    """This course's own README and pyproject, in a git repository without a remote."""
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    unpublish(tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def texts(course):
    return [(course / name).read_text() for name in ("README.md", "pyproject.toml")]


def test_publishing_writes_the_address_and_the_badges(course):
    publish(course, "ada/gpu-memory")
    assert read_address(course) == ("ada/gpu-memory", "main")
    readme, _ = texts(course)
    assert "mybinder.org/v2/gh/ada/gpu-memory/" in readme
    assert "colab.research.google.com/github/ada/gpu-memory/" in readme


def test_publishing_twice_leaves_one_address(course):
    publish(course, "ada/first")
    publish(course, "ada/second")
    assert "ada/first" not in "".join(texts(course))
    assert read_address(course).repository == "ada/second"


def test_taking_it_back_restores_both_files_to_the_letter(course):
    before = texts(course)
    publish(course, "ada/gpu-memory")
    unpublish(course)
    assert texts(course) == before
    assert read_address(course) is None


def test_another_branch_is_used_everywhere(course):
    publish(course, "ada/gpu-memory", branch="spring/2027")
    assert read_address(course).branch == "spring/2027"
    assert "/blob/spring/2027/" in texts(course)[0]


@pytest.mark.parametrize("branch", ["", "-x", 'a"b', "a b", "a\nb"])
def test_a_name_that_is_no_branch_is_refused(course, branch):
    with pytest.raises(LaunchError, match="expected the name of a branch"):
        publish(course, "ada/gpu-memory", branch)


def test_tables_after_the_address_survive(course):
    """Would a table that someone put below ours be lost when publishing again?"""
    publish(course, "ada/gpu-memory")
    with open(course / "pyproject.toml", "a") as file:
        file.write("\n[tool.other]\nkeep = true\n")
    publish(course, "ada/second")
    assert "[tool.other]\nkeep = true" in texts(course)[1]
    assert read_address(course).repository == "ada/second"


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/ada/gpu-memory.git",
        "https://token@github.com/ada/gpu-memory",
        "git@github.com:ada/gpu-memory.git",
        "ssh://git@github.com/ada/gpu-memory.git",
    ],
)
def test_the_git_remote_is_the_default(course, remote):
    subprocess.run(["git", "-C", str(course), "remote", "add", "origin", remote], check=True)
    assert publish(course).repository == "ada/gpu-memory"


def test_no_name_and_no_remote_says_what_to_type(course):
    with pytest.raises(LaunchError, match="make publish REPO=OWNER/REPO"):
        publish(course)


@pytest.mark.parametrize(
    "name",
    ["ada", "/x", "ada/", "ada/x/y", "-ada/x", "ada/x y", "ada/..", 'ada/"x', "https://example.org/ada/x", "a da/x"],
)
def test_a_name_that_is_no_repository_is_refused(course, name):
    before = texts(course)
    with pytest.raises(LaunchError, match="expected OWNER/REPO"):
        publish(course, name)
    assert texts(course) == before


def test_a_name_may_be_given_as_an_address():
    assert repository_name("https://github.com/ada/gpu-memory/") == "ada/gpu-memory"


def test_a_readme_without_its_markers_changes_nothing(course):
    (course / "README.md").write_text("# mine\n")
    before = texts(course)
    with pytest.raises(LaunchError, match="expected one block"):
        publish(course, "ada/gpu-memory")
    assert texts(course) == before


def test_an_unpublished_course_shows_no_launch_link():
    """Would a reader of the README or of a notebook meet a button that leads nowhere?"""
    published = read_address(ROOT)
    shown = [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("notebooks/*/*.ipynb"),
        *ROOT.glob("solutions/*/*.ipynb"),
    ]
    for path in shown:
        for address in re.findall(
            r"(?:mybinder\.org/v2/gh|colab\.research\.google\.com/github)/([\w.-]+/[\w.-]+)", path.read_text()
        ):
            assert published and address == published.repository, f"{path.relative_to(ROOT)} launches {address}"


def test_every_link_inside_the_course_leads_to_a_file():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
