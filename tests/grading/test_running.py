"""A notebook run for its outputs: the same as nbgrader's own, in a warm and confined kernel, and with an end always."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.preprocessors import Execute

from autograder.grading.confine import Confinement, available
from autograder.grading.files import unpack
from autograder.grading.running import RunOptions, run_notebook
from autograder.grading.warm import Warm, provisioner

pytestmark = pytest.mark.xdist_group("warm")
MODE = "off" if available() else "required"
MIB = 1 << 20


def run(*sources: str, files=None, mode=MODE, confinement=(), **options):
    """Run cells; return what came of it, with ``said``: the text or the error's name of each cell."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    chosen = RunOptions(**{"cell_timeout": 20, "confinement": Confinement(mode=mode, **dict(confinement)), **options})
    ran = run_notebook(notebook, files or {}, chosen)
    ran.said = [
        "".join(out.get("text") or out.get("ename") or str(dict(out["data"])) for out in cell.outputs)
        for cell in notebook.cells
    ]
    return ran


KINDS = (
    "import matplotlib.pyplot as plt, numpy as np, torch\nplt.plot([1, 3, 2]);",
    "fig, ax = plt.subplots()\nax.plot([1, 2])\nplt.show()\nprint('after')",
    "torch.tensor([1.0, 2.0])",
    "import sys\nprint('out'); print('err', file=sys.stderr); 0.5",
    "undefined_name + 1",
    "def inner():\n    raise ValueError('deep')\ninner()",
    "print('not closed'",
    "from IPython.display import HTML, display, clear_output\ndisplay(HTML('<b>x</b>'), display_id='a'); print(1)",
    "display(HTML('<b>y</b>'), display_id='a', update=True)",
    "print('gone'); clear_output(); print('stays')",
    "!echo from a shell",
    "%%capture kept\nprint('hidden')",
    "input('name?')",
    "raise SystemExit(1)",
    "import warnings; warnings.warn('careful')",
    "import os; os.getcwd() == os.path.realpath('.'), __name__, sys.argv[0][-20:]",
    "_, In[2][:10], get_ipython().execution_count",
    # A thread of ipykernel's reads the descriptor: the cell must outlast it, and show nothing else beside it.
    "import time; _ = os.system('echo to the descriptor'); time.sleep(2)",
)


def plain(outputs) -> str:
    """What a feedback page shows, without what differs from run to run."""
    text = json.dumps([{**out, "execution_count": None} for out in outputs])
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    for home in ("/tmp", os.path.expanduser("~")):  # a sandbox has a home of its own, and tracebacks shorten it
        text = text.replace(f"{home}/", "~/")
    text = text.replace("~/ipykernel", "/tmp/ipykernel")
    return re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "cell.py", text)


def test_outputs_equal_those_of_nbgraders_own_preprocessor(tmp_path, monkeypatch):
    """GIVEN cells that print, plot, fail, update and clear THEN warm and confined they give what nbgrader gives."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # where ipykernel sees it, it does not listen to descriptors
    ours, theirs = [new_notebook(cells=[new_code_cell(source) for source in KINDS]) for _ in range(2)]
    ran = run_notebook(ours, {}, RunOptions(confinement=Confinement(mode=MODE)))
    assert (ran.ended, ran.warm, ran.confined, ran.remarks) == ("", True, MODE == "required", [])
    Execute(kernel_name="python3").preprocess(theirs, {"metadata": {"path": str(tmp_path)}})
    for source, one, other in zip(KINDS, ours.cells, theirs.cells, strict=True):
        assert plain(one.outputs) == plain(other.outputs), source
        assert one.execution_count == other.execution_count
    assert ours.metadata == theirs.metadata
    assert any("image/png" in out.get("data", {}) for out in ours.cells[0].outputs)


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("mode", sorted({MODE, "off"}))
def test_every_way_to_start_a_kernel_runs_the_same_notebook(warm, mode):
    ran = run(
        "import os; print(sorted(os.listdir()), open('data/a b.txt').read())",
        files={"data/a b.txt": b"x"},
        mode=mode,
        warm=warm,
    )
    assert (ran.said, ran.ended, ran.confined, ran.warm) == (["['data'] x\n"], "", mode == "required", warm)


def test_an_endless_cell_is_interrupted_and_the_next_one_runs():
    ran = run("while True: pass", "print('next')", cell_timeout=1)
    assert (ran.said[0].endswith("CellTimeoutError"), ran.said[1], ran.ended) == (True, "next\n", "")


def test_a_kernel_that_ignores_interrupts_is_killed():
    ran = run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", "1", cell_timeout=1)
    assert ran.said == ["NoAnswer", ""]
    assert ran.ended == "NoAnswer: the kernel did not answer any more; the cells below were not run"


def test_a_kernel_that_dies_says_so_in_its_cell():
    for end in ("import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)"):
        ran = run("print('before')", end, "print('never')")
        assert (ran.said, ran.ended) == (
            ["before\n", "DeadKernel", ""],
            "DeadKernel: this cell ended the kernel; the cells below were not run",
        )


def test_all_cells_together_have_a_time_limit():
    ran = run("while True: pass", "print('never')", cell_timeout=60, total_timeout=1)
    assert ran.said == ["OutOfTime", ""]
    assert ran.ended == "OutOfTime: the notebook had used its 1 s; the cells below were not run"


def test_processor_time_has_a_limit_that_is_named():
    ran = run("import threading\nwhile True: pass", confinement={"cpu_seconds": 2})
    assert "it used more than 2 s of processor time" in ran.ended


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("print('x' * 100_000_000)", "more than 64 MiB of output at once"),
        ("import time\nwhile True: print('x' * 1_000_000); time.sleep(0.02)", "more than 20 MiB of output"),
        (
            "from IPython.display import display\nwhile True: display({'text/plain': 'x' * 1_000_000}, raw=True)",
            "more than 20 MiB of output",
        ),
    ],
    ids=["at once", "endless", "display"],
)
def test_too_much_output_ends_the_run(source, why):
    ran = run(source, "print('never')")
    assert ran.ended == f"TooMuchOutput: {why}; the cells below were not run"
    assert ran.said[1] == ""
    assert len(json.dumps(ran.notebook)) < 21 * MIB


def test_a_long_cell_is_cut_and_what_a_score_is_read_from_is_kept():
    """GIVEN output beyond the cell's limit, stderr and a value after it THEN these two still are in the outputs."""
    ran = run(
        "import sys, time\nfor _ in range(30): print('x' * 10_000); time.sleep(0.02)\nprint('e', file=sys.stderr)\n0.5",
        max_cell_output=50_000,
    )
    outputs = ran.notebook.cells[0].outputs
    assert {out.name for out in outputs if out.output_type == "stream"} == {"stdout", "stderr"}
    assert outputs[-1].data["text/plain"] == "0.5"
    assert len(json.dumps(outputs)) < 60_000 + 10_000
    assert "is longer than 50,000 bytes" in ran.said[0]


def test_skipped_cells_keep_their_outputs_and_tags_skip_nothing():
    notebook = new_notebook(
        cells=[
            new_markdown_cell("text"),
            new_code_cell("a = 1"),
            new_code_cell("print('tagged')"),
        ]
    )
    notebook.cells[2].metadata["tags"] = ["skip-execution", ""]
    notebook.metadata["kernelspec"] = {"name": "no-such-kernel", "display_name": "x", "language": "x"}
    ran = run_notebook(notebook, {}, RunOptions(skip=(1,), confinement=Confinement(mode=MODE)))
    assert (ran.ended, notebook.cells[1].execution_count) == ("", None)
    assert notebook.cells[2].outputs[0].text == "tagged\n"


def test_a_notebook_that_makes_no_sense_is_a_result():
    notebook = new_notebook(cells=[new_code_cell("1")])
    notebook.cells[0]["source"] = 7
    ran = run_notebook(notebook, {}, RunOptions(confinement=Confinement(mode=MODE)))
    assert ran.ended.startswith("NotRun: the notebook could not be run: ")


def test_files_stay_inside_their_folder(tmp_path):
    (tmp_path / "in").mkdir()
    names = ["ok.txt", "sub/ünï côde.txt", "../out.txt", "/etc/out.txt", "a/../../out.txt", "", "ok.txt/below", "n\0ul"]
    remarks = unpack(dict.fromkeys(names, b"x"), tmp_path / "in")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "in/ok.txt",
        "in/sub/ünï côde.txt",
    ]
    assert len(remarks) == 6


def test_options_travel_as_json():
    options = RunOptions(skip=(1, 2), confinement=Confinement(readable=("/data",)), warm=False)
    assert RunOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_twenty_kernels_two_at_a_time_and_none_dies():
    """GIVEN threads that share the warm process THEN each notebook has its own kernel, and nothing is left of them."""
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(2) as pool:
        ran = list(pool.map(lambda n: run(f"import torch\nprint({n}, torch.ones(3).sum().item())"), range(20)))
    assert [(one.ended, one.warm, one.said) for one in ran] == [("", True, [f"{n} 3.0\n"]) for n in range(20)]
    assert len(os.listdir("/proc/self/fd")) < before + 30, "descriptors are let go"


def test_a_warm_process_that_dies_in_between_is_replaced():
    assert run("1").warm
    os.kill(Warm.shared().pid, 9)
    ran = run("print(1)")
    assert (ran.said, ran.warm, ran.remarks) == (["1\n"], True, [])


def test_a_warm_process_that_cannot_fork_is_named_and_a_fresh_kernel_serves(monkeypatch):
    monkeypatch.setattr(
        provisioner,
        "Warm",
        type("Unsafe", (), {"shared": staticmethod(lambda modules: Warm(["this", "antigravity.no"]))}),
    )
    monkeypatch.setattr(Warm, "_ensure", lambda self: self._begin() if not self._modules else _refuse())
    ran = run("print(1)")
    assert (ran.said, ran.warm) == (["1\n"], False)
    assert ran.remarks == ["no warm start: it has 2 threads. A fresh process was started instead, which takes longer."]


def _refuse():
    from autograder.errors import ForkRefused

    raise ForkRefused("it has 2 threads")


def test_jupyters_own_managers_get_warm_kernels_by_the_kernel_spec():
    """GIVEN a kernel spec that names the provisioner THEN any kernel manager's kernel is forked and confined."""
    provisioner.register()
    manager = KernelManager(kernel_name="python3")
    settings = {"confinement": {"mode": MODE}}
    manager._kernel_spec = KernelSpec(
        argv=["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        language="python",
        metadata={"kernel_provisioner": {"provisioner_name": "autograder-warm", "config": settings}},
    )
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        said = []
        client.execute_interactive(
            "import os; print(os.getuid())", output_hook=lambda m: said.append(m["content"].get("text", ""))
        )
        assert "".join(said).strip() == ("65534" if MODE == "required" else str(os.getuid()))
        assert manager.provisioner.is_warm
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert not manager.is_alive()
