"""The picture in docs/architecture.md, enforced: who may import whom, what a notebook needs, how long a module is."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "autograder"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: From the bottom up. A part may import only parts that stand before it.
LAYERS = (
    "errors", "units", "host", "simgpu", "trace", "diagnosis", "checks", "plots", "journal", "session", "hints",
    "run", "judge", "authoring", "grading", "launch", "cli", "__main__",
)  # fmt: skip
CLASSROOM = {"authoring", "grading", "launch", "cli", "__main__"}
ON_COLAB = {"torch", "torchgen", "numpy", "matplotlib", "PIL", "ipywidgets", "IPython", "ipykernel"}
WITHOUT_TORCH = (
    "allocator", "blocks", "driver", "expandable", "growth", "host_allocator", "invariants", "oom", "pools", "readings",
    "release", "settings", "snapshot", "stats", "timeline", "tuning", "waiting",
)  # fmt: skip
LONGEST = 300

# Written in two halves so that this file does not name what no file may name.
UNWANTED = re.compile(
    "|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", r"conda\.ana" + r"conda\.org",
              r"download\.py" + r"torch\.org", "/wo" + "rk/", "TO" + "DO", "FIX" + "ME", "XX" + "X"))
)  # fmt: skip
WRITTEN = ("*.py", "*.md", "*.toml", "*.txt", "*.yml", "*.json", "*.ipynb", "Makefile", ".ci/run", "binder/*", ".git*")


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    """Yield the full name of every module a file imports, at the top or inside a function."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "autograder" else [module]


def within(path):
    """Yield the parts of this package that a file imports, its own left out."""
    for name in imports_of(path):
        if name.startswith("autograder.") and name.split(".")[1] != part_of(path):
            yield name.split(".")[1]


def test_every_part_has_its_place_in_the_picture():
    parts = {part_of(path) for path in MODULES} - {"__init__"}
    assert parts <= set(LAYERS), "give a new part its place in LAYERS and in docs/architecture.md"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_one_way(path):
    part = part_of(path)
    if part == "__init__":
        return
    allowed = set(LAYERS[: LAYERS.index(part)])
    assert set(within(path)) - {"__version__"} <= allowed, f"{part} may import only {sorted(allowed)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_a_notebook_imports_needs_only_what_colab_has(path):
    if part_of(path) in CLASSROOM:
        return
    outside = {name.split(".")[0] for name in imports_of(path)} - sys.stdlib_module_names - {"autograder"}
    assert outside <= ON_COLAB


def test_every_student_name_loads_without_the_classrooms_packages():
    """GIVEN a Python without nbgrader, jupytext, typer and JupyterLab WHEN every student name is used THEN all load."""
    blocked = ["nbgrader", "jupytext", "typer", "jupyterlab", "notebook", "nbformat", "nbconvert", "yaml", "pytest"]
    code = (
        f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
        "import autograder as ag\nfor name in ag.__all__: getattr(ag, name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "", "nothing may reach stderr: nbgrader scores it as a failure"


def test_importing_the_package_does_not_load_torch():
    code = "import sys, autograder\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_the_allocator_model_runs_without_torch(name):
    code = f"import sys\nsys.modules['torch'] = None\nimport autograder.simgpu.{name}"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", [*MODULES, *ROOT.glob("scripts/*.py")], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_outgrows_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_no_file_names_what_none_may_name():
    """Registries' hosts, paths of somebody's machine, notes to oneself: none belongs in a course."""
    listed = subprocess.run(["git", "ls-files", *WRITTEN], cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout: there is no list of the course's files")
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).is_file() else ""
        found = UNWANTED.search(text)
        assert found is None, f"{name} says {found.group()!r}"


def test_requirements_are_pinned_exactly_and_end_with_the_course():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines.pop() == "-e ."
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert "torch==2.13.0" in lines
    assert not any("nvidia" in line for line in lines)


def test_help_lists_every_command_of_the_makefile():
    """Does `make` alone tell a newcomer what there is?"""
    makefile = (ROOT / "Makefile").read_text()
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    make = subprocess.run(["make"], cwd=ROOT, check=False, capture_output=True, text=True, env=alone)
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert {"learn", "test", "build", "check", "grade-demo", "bench", "clean"} <= set(targets)
    missing = [target for target in targets if f"make {target} " not in make.stdout]
    assert missing == [], f"exit status {make.returncode}: {make.stdout}{make.stderr}"
