"""Does binder/ describe an environment that Binder's own tool accepts, lean enough for 2 GB of memory?"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINDER = ROOT / "binder"


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory):
    """What repo2docker would build from this course; it needs no Docker to say so."""
    if importlib.util.find_spec("repo2docker") is None:
        pytest.skip("NOT PROVED FOR BINDER: repo2docker is not installed here")
    course = tmp_path_factory.mktemp("course")
    shutil.copytree(BINDER, course / "binder")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, course)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(course)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_repo2docker_uses_our_three_files(dockerfile):
    assert '--file "binder/environment.yml"' in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert 'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile


def test_the_classrooms_requirements_stay_out(dockerfile):
    """Would Binder install nbgrader, the test tools, or PyTorch's CUDA build from requirements.txt?"""
    assert "requirements.txt" not in dockerfile


def test_the_environment_names_what_the_package_needs_and_nothing_heavy():
    text = (BINDER / "environment.yml").read_text()
    names = set(re.findall(r"^  - ([a-z-]+)", text, re.MULTILINE)) - {"conda-forge", "python", "pip"}
    assert names == {"pytorch-cpu", "matplotlib-base", "ipywidgets"}


def test_its_torch_is_one_the_package_accepts():
    torch_range = re.search(r"pytorch-cpu(\S+)", (BINDER / "environment.yml").read_text()).group(1)
    lowest = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    assert torch_range.startswith(f">={lowest},<")


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_run_under_bash(name):
    assert (BINDER / name).stat().st_mode & 0o111, f"binder/{name} must be executable"
    subprocess.run(["bash", "-n", str(BINDER / name)], check=True)


def test_start_hands_over_to_what_it_was_given_with_a_small_simulated_gpu():
    shown = subprocess.run(
        [str(BINDER / "start"), "bash", "-c", "echo $AUTOGRADER_CAPACITY $AUTOGRADER_DEVICE"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == ["512MiB", "simgpu"]
