"""Student code in its sandbox: what it cannot see, reach, fill or outlive. The same probes succeed without a sandbox.

A probe must do no harm where the sandbox fails: it asks for access instead of writing, and every bomb has an end.
"""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.errors import ConfinementUnavailable
from autograder.grading.confine import Confinement, Sandbox, available, cgroups, decide, paths
from autograder.grading.running import RunOptions, run_notebook

ROOT = Path(paths.PACKAGE).parent
MIB = 1 << 20
pytestmark = [
    pytest.mark.xdist_group("warm"),
    pytest.mark.skipif(bool(available()), reason=available() or "confinement is available"),
]

PROBES = """
import ctypes, os, signal, socket, sys
def attempt(what):
    try:
        return repr(what())
    except BaseException as error:
        return type(error).__name__
def talk(family, address):
    with socket.socket(family) as line:
        line.settimeout(2)
        line.connect(address)
        return line.recv(5)
def write(folder):
    with open(os.path.join(folder, "written"), "w") as file:
        return file.write("x")
def signalled(pid):
    os.kill(pid, 0)
    return True
seen = {}
seen["tcp"] = attempt(lambda: talk(socket.AF_INET, ("127.0.0.1", FACTS["port"])))
seen["unix"] = attempt(lambda: talk(socket.AF_UNIX, FACTS["unix"]))
seen["abstract"] = attempt(lambda: talk(socket.AF_UNIX, "\\0" + FACTS["abstract"]))
seen["exist"] = [path for path in FACTS["secret"] if os.path.exists(path)]
seen["beside"] = sorted(os.listdir(FACTS["root"]))
seen["writable"] = [folder for folder in FACTS["folders"] if os.access(folder, os.W_OK)]
seen["own"] = [attempt(lambda: write(folder)) for folder in FACTS["own"]]
seen["sysctl"] = attempt(lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)))
seen["signal"] = attempt(lambda: signalled(FACTS["grader"]))
seen["parent"] = os.getppid()
seen["processes"] = sum(name.isdigit() for name in os.listdir("/proc"))
environments = [str(os.environ), *(attempt(lambda: open(f"/proc/{pid}/environ").read()) for pid in ("self", 1))]
seen["token"] = any(FACTS["token"] in environment for environment in environments)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
seen["capabilities"] = [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")]
seen["user"] = (os.getuid(), os.getgid())
child = os.fork()
if child == 0:
    os._exit(ctypes.CDLL(None).unshare(0x10000000) & 1)
seen["new user namespace"] = os.waitpid(child, 0)[1] == 0
"""


def run(*sources: str, total: float = 30, files=None, environment=None, **confinement):
    """Run cells; return what came of it, with ``said``: the text or the error's name of each cell."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    options = RunOptions(
        cell_timeout=20,
        total_timeout=total,
        confinement=Confinement(**{"mode": "required", **confinement}),
        environment=environment or {},
    )
    ran = run_notebook(notebook, files or {}, options)
    ran.said = [
        "".join(out.get("text") or out.get("ename") or out["data"]["text/plain"] for out in cell.outputs)
        for cell in notebook.cells
    ]
    return ran


def serve(family, address) -> socket.socket:
    """Say hello to everybody who connects."""
    server = socket.socket(family)
    server.bind(address)
    server.listen()

    def answer():
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                line.sendall(b"hello")

    threading.Thread(target=answer, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """What there is to see, outside."""
    course = tmp_path_factory.mktemp("course")
    other = course / "submitted/bea/lesson/lesson.ipynb"
    other.parent.mkdir(parents=True)
    other.write_text("an answer")
    folder = tempfile.mkdtemp(dir="/tmp")  # a unix socket's path is short
    name = f"autograder-test-{os.getpid()}"
    servers = [
        serve(socket.AF_INET, ("127.0.0.1", 0)),
        serve(socket.AF_UNIX, f"{folder}/s"),
        serve(socket.AF_UNIX, "\0" + name),
    ]
    beside = [str(ROOT / part) for part in ("solutions", "lessons", "notebooks", "tests", "docs", ".git")]
    yield {
        "port": servers[0].getsockname()[1],
        "unix": f"{folder}/s",
        "abstract": name,
        "root": str(ROOT),
        "secret": [*beside, str(other), "/etc/shadow", "/var", "/run", "/sys", "/home", "/proc/kcore"],
        "folders": ["/", "/usr", "/etc", "/dev", "/proc", str(paths.PACKAGE), sys.prefix, str(course)],
        "own": [".", "/tmp", "/dev/shm"],
        "grader": os.getpid(),
        "token": "a-token-of-whoever-grades",
    }
    for server in servers:
        server.close()


def probed(facts, mode: str) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_TOKEN", facts["token"])
        ran = run(f"FACTS = {facts!r}", PROBES, "print(seen)", mode=mode)
    assert (ran.ended, ran.confined, ran.said[:2]) == ("", mode == "required", ["", ""])
    return ast.literal_eval(ran.said[2])


@pytest.fixture(scope="module")
def inside(facts):
    """What student code finds, confined."""
    return probed(facts, "required")


def test_the_probes_find_what_is_there_without_a_sandbox(facts):
    """GIVEN no sandbox THEN servers answer, files show, the grader can be signalled: the probes below do see."""
    facts = {**facts, "folders": [folder for folder in facts["folders"] if "course" in folder], "own": ["."]}
    outside = probed(facts, "off")
    assert {outside[name] for name in ("tcp", "unix", "abstract")} == {"b'hello'"}
    assert set(outside["exist"]) >= {str(ROOT / "solutions"), "/var"}
    assert (outside["writable"], outside["signal"]) == (facts["folders"], "True")
    assert outside["processes"] > 3


def test_no_network(inside):
    """GIVEN listeners on loopback TCP, a unix socket and an abstract one THEN none can be reached."""
    assert {inside[name] for name in ("tcp", "unix", "abstract")} <= {"ConnectionRefusedError", "FileNotFoundError"}


def test_no_view_of_solutions_other_submissions_or_the_system_around(inside):
    assert inside["exist"] == []
    environment = {Path(sys.prefix).name} if Path(sys.prefix).parent == ROOT else set()
    assert set(inside["beside"]) == {"autograder"} | environment, "the package, and where Python's packages are"


def test_nothing_can_be_written_but_the_scratch_folder_and_tmp(inside):
    assert (inside["writable"], inside["own"]) == ([], ["1", "1", "1"])
    assert inside["sysctl"] == "OSError", "root's kernel settings: writable for user 0, even without capabilities"


def test_no_process_of_others_is_seen_or_signalled(inside):
    assert inside["processes"] == 2, "the sandbox's first one, and the kernel"
    assert (inside["parent"], inside["signal"]) == (0, "ProcessLookupError")


def test_the_graders_environment_is_hidden(inside):
    assert inside["token"] is False


def test_own_user_no_capabilities_and_no_way_to_regain_them(inside):
    assert inside["user"] == (65534, 65534)
    assert inside["capabilities"] == [0, 0, 0, 0, 0]
    assert inside["new user namespace"] is False


def test_tmp_and_shared_memory_are_full_at_their_size():
    fill = "try:\n    with open('{}/f', 'wb') as f:\n        for _ in range(20): f.write(bytes(2 ** 20))\nexcept OSError as e: print(e.errno)"
    ran = run(fill.format("/tmp"), fill.format("/dev/shm"), tmp_size=10 * MIB)
    assert [said.strip() for said in ran.said] == ["28", "28"]


def test_the_scratch_folder_has_a_limit_too():
    write = (
        "for n in range(20):\n    with open(f'f{n}', 'wb') as f: f.write(bytes(2 ** 20))\nimport time; time.sleep(15)"
    )
    ran = run(write, "1", tmp_size=10 * MIB)
    assert (
        ran.ended
        == "DeadKernel: this cell ended the kernel: it wrote more than 10 MiB of files; the cells below were not run"
    )


@pytest.fixture(params=["control groups", "watching"])
def held_by(request, monkeypatch):
    """Both ways to hold memory and processes down."""
    if request.param == "watching":
        monkeypatch.setattr("autograder.grading.confine.sandbox.ControlGroups", lambda *limits: os.stat("/nowhere"))
    with tempfile.TemporaryDirectory() as folder, Sandbox(folder) as sandbox:
        if sandbox.limited_by != request.param:
            pytest.skip("no control group can be made here: the processes of a sandbox are watched instead")
    return request.param


def test_a_memory_bomb_is_stopped_and_the_reason_said(held_by):
    ran = run("kept = [bytearray(20 * 2 ** 20) for _ in range(100)]", "1", memory=700 * MIB)
    assert "used more than 700 MiB of memory" in ran.ended
    assert ran.said == ["DeadKernel", ""]


def test_a_fork_bomb_is_stopped_and_the_reason_said(held_by):
    bomb = "import os, time\nfor _ in range(9):\n    try: os.fork()\n    except OSError: pass\ntime.sleep(15)"  # 512 at most
    ran = run(bomb, "1", processes=60)
    assert "started more than 60 processes and threads" in ran.ended


def processes_with(mark: str) -> list[str]:
    """Return the numbers of processes whose command line has the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(folder.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("mode", ["required", "off"])
def test_a_daemon_ends_with_its_notebook(mode):
    """GIVEN a process that left its session and its parent THEN it lives while the notebook runs, and no longer."""
    mark = f"daemon-of-{os.getpid()}-{mode}"
    start = f"""
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", {mark!r}],
                     stdout=subprocess.PIPE, start_new_session=True).stdout.read(1)
    open("started", "w").close()
    os._exit(0)
os.wait()
print(os.path.exists("started"))
"""
    look = "\n".join(["from pathlib import Path", f"mark = {mark.encode()!r}", "alive = 0",
                      "for p in Path('/proc').glob('[0-9]*/cmdline'): alive += mark in p.read_bytes().split(b'\\0')",
                      "print(alive)"])  # fmt: skip
    ran = run(start, look, mode=mode)
    assert (ran.ended, [said.strip() for said in ran.said]) == ("", ["True", "1"])
    assert processes_with(mark) == []


def test_more_can_be_shown_and_something_in_it_hidden(tmp_path):
    (tmp_path / "data/private").mkdir(parents=True)
    (tmp_path / "data/table.csv").write_text("1")
    (tmp_path / "data/private/key").write_text("2")
    data = str(tmp_path / "data")
    ran = run(
        f"import os; print(*os.listdir({data!r}), os.listdir({data!r} + '/private'))",
        readable=(data,),
        hidden=(f"{data}/private",),
    )
    assert sorted(ran.said[0].split()) == ["[]", "private", "table.csv"]


def test_a_checkout_inside_a_readable_folder_stays_hidden(tmp_path, monkeypatch):
    """GIVEN a course that lies in /usr, say, with its package and its .venv THEN only these two of it are shown."""
    course = tmp_path / "src/course"
    for part in ("autograder", "solutions", ".venv"):
        (course / part).mkdir(parents=True)
    monkeypatch.setattr(paths, "PACKAGE", course / "autograder")
    monkeypatch.setattr(sys, "prefix", str(course / ".venv"))
    plan = paths.mounts(readable=[str(tmp_path)])
    ours = [(word, path) for word, path in plan if path.startswith(str(tmp_path))]
    assert ours == [
        ("show", str(tmp_path)),
        ("hide", str(course)),
        ("show", str(course / ".venv")),
        ("show", str(course / "autograder")),
    ]


def test_the_package_that_is_shown_holds_no_answer():
    """GIVEN every answer of every lesson THEN no telling line of it stands in the package's files, hints apart."""
    package = "\n".join(file.read_text() for file in paths.PACKAGE.rglob("*.py"))
    for file in paths.PACKAGE.glob("data/*.json"):
        lesson = json.loads(file.read_text())
        for exercise in lesson["exercises"].values():
            assert exercise.pop("hints")  # learners read them in their notebooks
        package += json.dumps(lesson)
    answers = [
        line.strip()
        for lesson in (ROOT / "lessons").glob("*.py")
        for block in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", lesson.read_text(), re.DOTALL)
        for line in block.splitlines()
    ]
    telling = [line for line in answers if len(line) > 40 and not line.startswith("#")]
    assert len(telling) > 10
    assert [line for line in telling if line in package] == []


def test_without_bubblewrap_auto_says_so_every_time_and_required_refuses(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for _ in range(2):
        confined, remark = decide(Confinement(mode="auto"))
        assert not confined
        assert "no bwrap on PATH; install the package bubblewrap" in remark
    assert decide(Confinement(mode="off")) == (False, "")
    with pytest.raises(ConfinementUnavailable, match="no bwrap on PATH"):
        decide(Confinement(mode="required"))
    with pytest.raises(ConfinementUnavailable):
        run("1")
    ran = run("print(6 * 7)", mode="auto")
    assert (ran.said, ran.confined) == (["42\n"], False)
    assert "Student code runs with your rights." in ran.remarks[0]


def test_forbidden_user_namespaces_are_named(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "this system forbids user namespaces (bwrap: No permissions to create new namespace)" in available()


def test_settings_travel_as_json():
    settings = Confinement(mode="required", memory=5, readable=("/data",))
    assert Confinement.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    with pytest.raises(ValueError, match="unknown confinement settings: memroy"):
        Confinement.from_json({"memroy": 1})
    with pytest.raises(ValueError, match="required, auto, off"):
        Confinement(mode="on")


def test_control_groups_of_version_2_are_made_beside_ours_where_controllers_reach(tmp_path):
    """GIVEN a tree as in /sys/fs/cgroup THEN the nearest group that hands memory and pids down gets a child."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    ours = tmp_path / "user.slice/session.scope"
    ours.mkdir(parents=True)
    (tmp_path / "cgroup.subtree_control").write_text("memory pids")
    (tmp_path / "user.slice/cgroup.subtree_control").write_text("cpu memory pids")
    (ours / "cgroup.subtree_control").write_text("")
    groups = cgroups.ControlGroups(1000, 7, root=tmp_path, own="0::/user.slice/session.scope\n")
    (folder,) = [Path(file).parent for file in groups.files]
    assert folder.parent == tmp_path / "user.slice"
    assert ((folder / "memory.max").read_text(), (folder / "pids.max").read_text()) == ("1000", "7")
    (folder / "memory.events").write_text("low 0\noom_kill 1\n")
    (folder / "pids.events").write_text("max 0\n")
    assert groups.exceeded() == (True, False)


AS_NOBODY = """
import os, sys
from autograder.grading.confine import Confinement, Sandbox
from autograder.grading.warm import fork_cold
with Sandbox(sys.argv[1], confinement=Confinement(mode="required")) as sandbox:
    (line_in, feed), (out, line_out) = os.pipe(), os.pipe()
    os.write(feed, b"import os; print('found', os.getuid(), os.path.exists('/home'), os.getppid())\\n")
    os.close(feed)
    request = {"function": "code:interact", "environment": {}, "folder": sys.argv[1]}
    with fork_cold("call", request, {0: line_in, 1: line_out}, sandbox) as child:
        os.close(line_out)
        print(sandbox.limited_by, child.wait(20), open(out).read())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="this whole file runs unprivileged here")
def test_whoever_grades_needs_no_privilege(tmp_path_factory):
    folder = tempfile.mkdtemp(dir="/tmp")
    os.chown(folder, 65534, 65534)
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/", "capture_output": True, "text": True}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    python = next((exe for exe in (sys.executable, "/usr/bin/python3") if _runs(exe, as_nobody, environment)), None)
    if python is None:
        pytest.skip("user 65534 may not read this package or any Python")
    done = subprocess.run([python, "-c", AS_NOBODY, folder], env=environment, timeout=60, check=False, **as_nobody)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("watching 0"), done.stdout
    assert "found 65534 False 0" in done.stdout


def _runs(python: str, how: dict, environment: dict) -> bool:
    try:
        return (
            subprocess.run(
                [python, "-c", "import autograder.grading.confine"], env=environment, check=False, **how
            ).returncode
            == 0
        )
    except OSError:
        return False
