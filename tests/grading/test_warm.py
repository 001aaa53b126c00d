"""Children of a warm process: like those of a fresh interpreter, only sooner; and what happens when it cannot fork."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from autograder.errors import ForkRefused
from autograder.grading.confine import Confinement, Sandbox, available
from autograder.grading.scratch import Scratch, remove_if_abandoned
from autograder.grading.warm import Warm, fork_cold, start_child

pytestmark = pytest.mark.xdist_group("warm")
confined = pytest.mark.skipif(bool(available()), reason=available() or "confinement is available")


def start(source: str, warm: Warm | None, sandbox=None, folder="/tmp"):
    """Start a child that reads its program from a pipe; return it, what must be said, and where it prints."""
    program, feed = os.pipe()
    out, printed = os.pipe()
    os.write(feed, f"exec({source!r})\n".encode())
    os.close(feed)
    request = {
        "function": "code:interact",
        "environment": {"ONLY": "this", "OMP_NUM_THREADS": "1"},
        "folder": str(folder),
    }
    child, remark = start_child("call", request, {0: program, 1: printed}, sandbox, warm)
    os.close(program)
    os.close(printed)
    return child, remark, open(out)


def ask(source: str, warm: Warm | None, sandbox=None):
    """Return the value that a child prints."""
    child, _, out = start(f"print('answer:', {source})", warm, sandbox)
    with child, out:
        child.wait(30)
        return ast.literal_eval(re.search("answer: (.*)", out.read())[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, seconds: float = 10) -> bool:
    """Wait for the end of a process that is not ours."""
    pause = threading.Event()
    return any(not alive(pid) or pause.wait(0.05) for _ in range(int(seconds / 0.05)))


FACTS = (
    "[len(__import__('os').listdir('/proc/self/task')), 'torch' in __import__('sys').modules,"
    " dict(__import__('os').environ), sorted(map(int, __import__('os').listdir('/proc/self/fd')))]"
)


def test_a_warm_child_has_everything_imported_and_nothing_else_of_ours(monkeypatch):
    """GIVEN a fork THEN it has one thread, torch, the environment and descriptors that were asked for, and no more."""
    monkeypatch.setenv("SECRET_TOKEN", "x")
    threads, torch, environment, descriptors = ask(FACTS, Warm.shared())
    assert (threads, torch, environment["ONLY"]) == (1, True, "this")
    assert set(environment) <= {"ONLY", "OMP_NUM_THREADS", "LC_CTYPE"}
    assert descriptors == [0, 1, 2, 3], "3 is the folder that is being listed"


def test_a_cold_child_differs_only_in_its_imports():
    assert ask(FACTS, None)[:2] == [1, False]


def test_forks_do_not_share_random_numbers():
    random = "[__import__('numpy').random.rand(), __import__('torch').rand(1).item(), __import__('random').random()]"
    first, second = ask(random, Warm.shared()), ask(random, Warm.shared())
    assert all(one != other for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_the_end_of_a_child_is_told_like_popen_does(warm):
    warm = Warm.shared() if warm else None
    for source, code in (("import sys; sys.exit(3)", 3), ("import os; os.abort()", -signal.SIGABRT)):
        with start(source, warm)[0] as child:
            assert child.wait(30) == child.poll() == child.returncode == code
    with start("import time; time.sleep(60)", warm)[0] as child:
        assert child.poll() is None
        with pytest.raises(TimeoutError):
            child.wait(0.01)
        child.kill()
        assert child.wait(10) == -signal.SIGKILL


def test_a_child_ends_when_nobody_holds_it():
    child = start("import time; time.sleep(60)", Warm.shared())[0]
    assert alive(child.pid)
    child.close()
    assert gone(child.pid)


GRADER = """
import os, sys, tempfile
from autograder.grading.confine import Confinement, Sandbox
from autograder.grading.warm import fork_cold
sandbox = Sandbox(tempfile.mkdtemp()) if sys.argv[1] == "confined" else None
request = {"function": "signal:pause", "environment": {}, "folder": "/tmp"}
child = fork_cold("call", request, {}, sandbox)
print(child.pid, *([sandbox.pid] if sandbox else []), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", [pytest.param("confined", marks=confined), "unconfined"])
def test_children_end_with_a_grader_that_was_killed(how):
    done = subprocess.run([sys.executable, "-c", GRADER, how], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert all(gone(int(pid)) for pid in done.stdout.split())


@confined
def test_a_warm_child_lives_in_its_sandbox_and_dies_with_it():
    with tempfile.TemporaryDirectory() as folder, Sandbox(folder, confinement=Confinement()) as sandbox:
        facts = "[__import__('os').getuid(), __import__('os').getppid(), __import__('os').path.exists('/home')]"
        assert ask(facts, Warm.shared(), sandbox) == [65534, 0, False]
        child = start("import signal; signal.pause()", Warm.shared(), sandbox)[0]
        sandbox.kill()
        assert child.wait(10) == -signal.SIGKILL
        child.close()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that makes a module which a warm process can import."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")

    def make(name: str, source: str) -> Warm:
        (tmp_path / f"{name}.py").write_text(source)
        return Warm(modules=[name])

    return make


THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
CUDA = """
import mmap, tempfile
file = open(tempfile.mkdtemp() + "/libcuda.so.1", "w+b")
file.truncate(4096)
kept = mmap.mmap(file.fileno(), 4096)
"""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (THREAD, "it has 2 threads"),
        (CUDA, "it has loaded CUDA's driver"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
    ids=["thread", "cuda", "does not import"],
)
def test_where_a_fork_is_unsafe_it_is_refused_and_a_fresh_process_serves(module, source, why):
    warm = module("unsafe_to_fork", source)
    child, remark, out = start("print(6 * 7)", warm)
    with child, out:
        assert (child.wait(30), child.warm) == (0, False)
        assert "42" in out.read()
    assert remark.startswith("no warm start: ")
    assert why in remark
    with pytest.raises(ForkRefused, match=why.split(":")[0]):
        warm.fork("call", {"function": "this:c", "environment": {}, "folder": "/tmp"})
    warm.close()


def test_a_module_that_is_not_installed_is_left_out():
    warm = Warm(modules=["no_such_module_here"])
    assert ask("1", warm) == 1
    warm.close()


def test_a_dead_warm_process_is_replaced_and_its_children_live_on(module):
    warm = module("light", "")
    child = start("import signal; signal.pause()", warm)[0]
    first = warm.pid
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    assert ask("2", warm) == 2
    assert warm.pid not in (None, first)
    assert child.poll() is None
    child.close()
    warm.close()


def test_a_request_that_cannot_be_met_is_refused_with_the_reason():
    with pytest.raises(ForkRefused, match="cannot be reached"):
        Warm.shared().fork("call", {"function": "x" * 10_000_000, "environment": {}, "folder": "/tmp"})
    with fork_cold("call", {"function": "no_such_module:x", "environment": {}, "folder": "/tmp"}) as child:
        assert child.wait(30) == 1


def test_threads_share_one_warm_process_and_it_outlives_them():
    """GIVEN forks asked for by threads that end THEN the warm process, which one of them started, goes on."""
    warm, answers = Warm(modules=["json"]), []
    for _ in range(2):
        threads = [
            threading.Thread(target=lambda: answers.append(ask("'json' in __import__('sys').modules", warm)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [True] * 8
    warm.close()


def test_scratch_folders_of_killed_graders_are_removed_and_no_others():
    held = Scratch()
    assert not remove_if_abandoned(held.path)
    abandoned = Path(tempfile.mkdtemp())
    (abandoned / "file").write_text("x")
    assert remove_if_abandoned(abandoned)
    assert (held.path.exists(), abandoned.exists()) == (True, False)
    held.close()
    assert not held.path.exists()
