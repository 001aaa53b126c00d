"""The set-up that `make` runs first: every way it can fail ends in one clear message."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "setup_env.py"


@pytest.fixture
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small_course(tmp_path):
    """A course of which only the set-up exists, so that a test can break it."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text("no-such-package-of-the-course==1.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    return tmp_path


def run(course, code=None, **environment):
    command = [sys.executable, *(["-c", code] if code else []), str(course / "scripts" / "setup_env.py")]
    env = {**os.environ, "PIP_RETRIES": "1", "CI": "", **environment}
    env.pop("AUTOGRADER_VENV", None)
    return subprocess.run(command, check=False, cwd=course, env=env, capture_output=True, text=True, timeout=120)


AS_PYTHON_39 = (
    "import runpy, sys; sys.version_info = (3, 9, 2, 'final', 0); runpy.run_path(sys.argv[1], run_name='__main__')"
)


def test_a_wrong_python_is_one_message_with_the_way_out(small_course):
    result = run(small_course, AS_PYTHON_39)
    assert result.returncode == 1
    assert "This course needs Python 3.11 to 3.13" in result.stderr and "is Python 3.9" in result.stderr
    assert "make learn PYTHON=python3.1" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (small_course / ".venv").exists()


def test_an_old_python_can_read_the_script_far_enough_to_say_so():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    assert "from __future__" not in SCRIPT.read_text()


def test_no_network_is_one_message(small_course):
    """GIVEN a package index that nobody answers for WHEN the course is set up THEN pip's retries become one message."""
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    result = run(small_course, **nowhere)
    assert result.returncode == 1
    assert "No network: the package index could not be reached" in result.stderr
    assert "Retrying" not in result.stderr and "Traceback" not in result.stderr
    assert not (small_course / ".venv" / "course-stamp").exists(), "an unfinished set-up must not count as finished"


def test_a_python_without_venv_names_the_package_to_install(setup_env, tmp_path, monkeypatch):
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\necho 'ensurepip is not available'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(setup_env, "VENV", str(tmp_path / "venv"))
    monkeypatch.setattr(setup_env.sys, "executable", str(broken))
    with pytest.raises(setup_env.SetupFailed, match=r"apt install python3\.\d+-venv"):
        setup_env.create()


def test_a_full_disk_says_how_much_is_needed(setup_env):
    assert "disk is full" in setup_env.explain("ERROR: Could not install: [Errno 28] No space left on device")


def test_another_failure_points_at_what_pip_said(setup_env):
    assert "its own message is above" in setup_env.explain("ERROR: Could not find a version that satisfies x==9")


class TestSecondRun:
    """A finished environment is used as it is; anything that could change it makes a new set-up."""

    @pytest.fixture
    def finished(self, setup_env, tmp_path, monkeypatch):
        venv = tmp_path / "venv"
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(sys.executable)
        monkeypatch.setattr(setup_env, "ROOT", str(tmp_path))
        monkeypatch.setattr(setup_env, "VENV", str(venv))
        monkeypatch.setattr(setup_env, "STAMP", str(venv / "course-stamp"))
        (tmp_path / "requirements.txt").write_text("a==1\n")
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n\n[tool.autograder]\nrepository = 'a/b'\n")
        setup_env.write_stamp()
        return setup_env

    def test_it_is_ready(self, finished):
        assert finished.is_ready()

    def test_a_changed_pin_makes_it_unready(self, finished, tmp_path):
        (tmp_path / "requirements.txt").write_text("a==2\n")
        assert not finished.is_ready()

    def test_a_changed_dependency_of_the_package_makes_it_unready(self, finished, tmp_path):
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'y'\n")
        assert not finished.is_ready()

    def test_publishing_does_not(self, finished, tmp_path):
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n\n[tool.autograder]\nrepository = 'c/d'\n")
        assert finished.is_ready()

    def test_a_moved_folder_does(self, finished, monkeypatch, tmp_path):
        moved = tmp_path / "moved"
        shutil.copytree(tmp_path, moved, symlinks=True)
        monkeypatch.setattr(finished, "ROOT", str(moved))
        assert not finished.is_ready()

    def test_a_python_that_no_longer_starts_does(self, finished, tmp_path):
        (tmp_path / "venv" / "bin" / "python").unlink()
        assert not finished.is_ready()
