"""Does a published notebook run on Colab, installing the course and changing nothing that was there?

Proved as far as a machine other than Colab can: an environment with Colab's old IPython and widgets, without
nbgrader; the notebook's own install cell, with its GitHub address redirected to a local git repository.
"""

import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from autograder.authoring import build
from autograder.launch.publish import publish
from tests.house.colab_environment import colab_python, pip, versions

ROOT = Path(__file__).resolve().parents[2]
LESSON = "01_accumulated_metrics"
REPOSITORY = "ada/gpu-memory"
FIX = """\
def validate(model, batches):
    return [F.cross_entropy(model(x), y).item() for x, y in batches]"""

pytestmark = [pytest.mark.colab, pytest.mark.xdist_group("colab")]


@pytest.fixture(scope="module")
def colab(request):
    """The Python of an environment made like Colab's, without the course."""
    try:
        python = colab_python(request.config.cache.mkdir("colab"))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT PROVED ON COLAB'S VERSIONS: its packages could not be installed: {error.stderr[-300:]}")
    if "autograder" in versions(python):
        pip(python, "uninstall", "--yes", "autograder")
    return python


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A git repository of this working tree, published: what a learner's Colab would fetch."""
    if not (ROOT / ".git").exists():
        pytest.skip("NOT PROVED ON COLAB'S VERSIONS: this is no git checkout, so there is nothing to publish")
    target = tmp_path_factory.mktemp("published")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    publish(target, REPOSITORY)
    build(target)
    identity = ["-c", "user.name=course", "-c", "user.email=course@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "Publish"]):
        subprocess.run(["git", *command], cwd=target, check=True)
    return target


@pytest.fixture
def colab_kernel(colab, published, tmp_path, monkeypatch):
    """A Jupyter kernel in that environment; GitHub's address of the course leads to the local repository."""
    spec = tmp_path / "kernels" / "colab"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        f'{{"argv": ["{colab}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"], '
        '"display_name": "Colab", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("AUTOGRADER_DEVICE", "simgpu")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{published}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"https://github.com/{REPOSITORY}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setitem(os.environ, "MPLBACKEND", "module://matplotlib_inline.backend_inline")
    return "colab"


def test_a_published_lesson_installs_itself_runs_and_passes(colab, colab_kernel, published, tmp_path):
    before = versions(colab)
    assert "nbgrader" not in before and before["ipython"] == "7.34.0"

    notebook = nbformat.read(published / "notebooks" / LESSON / f"{LESSON}.ipynb", as_version=4)
    stub = next(cell for cell in notebook.cells if cell.source.lstrip().startswith("def validate(model, batches)"))
    stub.source = FIX
    client = NotebookClient(
        notebook, kernel_name=colab_kernel, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()

    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "passed" in printed

    after = versions(colab)
    assert "autograder" in after
    assert {name: version for name, version in after.items() if name != "autograder"} == before
