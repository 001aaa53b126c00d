"""Do scripts that run as a module, or start processes of their own, work as with python?"""

import subprocess
import sys

import pytest

from autograder.errors import RunError
from autograder.run import Options, run_script
from tests.run.conftest import SCRIPTS


def test_device_tensors_reach_other_processes_and_share_their_memory():
    command = [sys.executable, "-m", "autograder", "run", str(SCRIPTS / "hogwild.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[0.0, 0.0] cuda:0 0",
        "[1.0, 1.0] cuda:0 0",
        "[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]] None",
    ], "what a child wrote is seen here; memory opened by a child is not counted as its own"
    assert done.stderr.count("device 0, peak allocated") == 2


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a relative import, in the current folder."""
    for name, text in {
        "__init__.py": "",
        "__main__.py": "print('package', __name__)",
        "helper.py": "import torch\nweight = torch.ones(3, device='cuda')",
        "train.py": (
            "import sys, torch.multiprocessing as mp\nfrom .helper import weight\n"
            "def child(rank): print('child', rank, weight.device, __name__, flush=True)\n"
            "if __name__ == '__main__':\n"
            "    print(sys.argv[1:], sys.argv[0] == __file__, __package__, __spec__.name, weight.device, flush=True)\n"
            "    mp.spawn(child, nprocs=1)\n"
        ),
    }.items():
        file = tmp_path / "trainer" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (tmp_path / "trainer" / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_module_is_run_as_python_m_runs_it(package):
    command = [sys.executable, "-m", "autograder", "run", "-m", "trainer.train", "--epochs", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ("['--epochs', '3'] True trainer trainer.train cuda:0\nchild 0 cuda:0 __mp_main__\n"), (
        done.stderr
    )
    assert done.returncode == 0 and done.stderr.startswith("SpawnProcess-1: device 0")
    assert "trainer.train on Simulated GPU" in done.stderr


def test_a_rank_whose_device_nobody_chose_gets_it_from_the_device_mesh():
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "autograder", "run", "--devices", "2", str(SCRIPTS / "mesh.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert sorted(done.stdout.splitlines()) == [
        "False True rank 0 on 0 cuda:0",
        "False True rank 1 on 1 cuda:1",
    ], done.stderr


RELAUNCHING = """
import os, subprocess, sys, torch
if "RANK" not in os.environ:
    print(torch.cuda.device_count(), torch.cuda.mem_get_info()[1], flush=True)
    again = {again}
    subprocess.run(again, env={{**os.environ, "RANK": "1"}}, check=True)
    subprocess.run([sys.executable, "-c", "import torch; print(torch.cuda.is_available())"], check=True)
else:
    print(sys.argv[1:], torch.ones(1, device="cuda:1").device, torch.cuda.mem_get_info()[1], __name__)
"""


@pytest.mark.parametrize(
    ("named", "again"),
    [
        (["./again.py"], '[sys.executable, "-u", "-W", "ignore", os.path.abspath(sys.argv[0]), *sys.argv[1:]]'),
        (["-m", "again"], "[sys.executable, '-m', __spec__.name, *sys.argv[1:]]"),
    ],
)
def test_a_script_that_starts_itself_again_gets_the_devices_there_too(tmp_path, named, again):
    (tmp_path / "again.py").write_text(RELAUNCHING.format(again=again), encoding="utf-8")
    options = ["--devices", "2", "--capacity", "1GiB"]
    command = [sys.executable, "-m", "autograder", "run", *options, *named, "--epochs", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"2 {1 << 30}", f"['--epochs', '3'] cuda:1 {1 << 30} __main__", "False"]
    assert done.stderr.count("Peak allocated") == 2, "each process has a report of its own"


def test_a_package_runs_its_main_module(package, capsys):
    assert run_script("trainer", [], Options(module=True)) == 0
    assert capsys.readouterr().out == "package __main__\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "there is no module 'nowhere'"),
        ("trainer.nowhere", "there is no module 'trainer.nowhere'"),
        ("nowhere.train", "cannot find the module 'nowhere.train'"),
        ("trainer.empty", "is a package without a __main__ module"),
        ("math", "is no Python file"),
    ],
)
def test_what_is_no_module_is_refused_in_one_sentence(package, name, said):
    with pytest.raises(RunError, match=said):
        run_script(name, [], Options(module=True))
