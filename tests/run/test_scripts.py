"""Do realistic CUDA scripts run unmodified, and is what they do to memory told rightly?"""

import pickle
import re
import subprocess
import sys

import pytest
import torch

from autograder.simgpu.cuda_shim import is_installed
from tests.run.conftest import SCRIPTS


def held_by(report):
    return [holder for group in report["diagnosis"]["groups"] for holder in group["held_by"]]


def test_a_classifier_moved_with_cuda_is_flat(run):
    done = run("mlp")
    assert done.status == 0 and done.stderr == ""
    assert "on cuda:0" in done.stdout and "Simulated GPU True" in done.stdout
    report = done.report
    assert (report["verdict"], report["slope"], report["diagnosis"]) == ("flat", 0, None)
    assert (report["steps_from"], report["steps_marked_by"], len(report["samples"])) == ("optimizer", "Adam", 12)
    parameters = 4 * (64 * 128 + 128) + 4 * (128 * 10 + 10)
    assert report["samples"][-1]["allocated"] >= 4 * parameters  # weights, gradients, Adam's two moments
    assert report["samples"][-1]["h2d_count"] == 2


def test_a_gpt_with_autocast_scaler_and_compile_runs(run):
    done = run("gpt_amp")
    assert done.status == 0 and "MB allocated" in done.stdout
    assert done.report["verdict"] == "flat" and len(done.report["samples"]) == 8
    assert done.report["not_compiled"] == ["GPT"]


def test_a_data_loader_with_workers_and_pinned_memory_runs(run):
    done = run("loader")
    assert done.status == 0 and "trained True" in done.stdout
    assert len(done.report["samples"]) == 12 and done.report["verdict"] == "flat"


def test_stored_losses_are_found_though_their_function_has_returned(run):
    done = run("leak_losses")
    report = done.report
    assert report["verdict"] == "grows"
    assert report["slope"] == 512, "64 numbers in a block of 512 B: backward() freed the rest of each graph"
    assert any("list `losses` of function `main`" in holder for holder in held_by(report))
    lines = [group["line"] for group in report["diagnosis"]["groups"]]
    source = (SCRIPTS / "leak_losses.py").read_text().splitlines()
    assert all("model(torch.randn" in source[line - 1] for line in lines)
    assert report["diagnosis"]["after_step"] == 16


def test_a_validation_without_no_grad_is_found(run):
    report = run("leak_validation").report
    assert report["verdict"] == "grows" and len(report["samples"]) == 20
    assert any("`history` of Trainer `trainer`" in holder for holder in held_by(report))


def test_a_hidden_state_that_is_never_detached_is_found_without_any_optimizer(run):
    report = run("leak_hidden").report
    assert (report["steps_from"], report["steps_marked_by"]) == ("forward", "GRU")
    assert report["verdict"] == "grows" and len(report["samples"]) == 12
    roots = re.compile("graph of tensor `(out|hidden)`")  # one node of cuDNN's makes both
    assert any(roots.search(holder) for holder in held_by(report)), report["diagnosis"]


def test_options_imports_and_the_exit_status_are_the_scripts_own(run):
    done = run("options", "--device", "cuda", "--steps", "6", "--status", "3")
    assert done.status == 3 == done.report["exit_status"]
    assert done.stdout == "__main__ True ['--device', 'cuda', '--steps', '6', '--status', '3'] cuda\n"
    assert len(done.report["samples"]) == 6 and done.report["ended_by"] == "SystemExit"
    assert "options_helper" in sys.modules and str(SCRIPTS) not in sys.path
    assert run("options", "--no-cuda").report["peak_allocated"] == 0


def test_a_script_that_runs_out_of_memory_is_reported_with_what_was_alive(run):
    done = run("out_of_memory", capacity="64MiB")
    assert done.status == 1 and done.stdout == "out of memory at 8192\n"
    assert done.report["out_of_memory"] and 32 << 20 < done.report["peak_allocated"] <= 64 << 20
    assert "CUDA out of memory. Tried to allocate" in done.stderr
    assert "model(torch.ones(batch, 1024" in done.stderr, "the traceback shows the script's line"
    assert "autograder" not in done.stderr.replace("autograder run", ""), "and none of ours"


def test_a_scripts_own_snapshot_is_one_for_pytorchs_viewer(run, tmp_path):
    from torch.cuda import _memory_viz

    theirs, ours = tmp_path / "theirs.pickle", tmp_path / "ours.pickle"
    assert run("history", str(theirs), snapshot=str(ours)).status == 0
    for file in (theirs, ours):
        snapshot = pickle.loads(file.read_bytes())
        assert "segments" in snapshot and _memory_viz.trace_plot(snapshot)
    assert any(trace for trace in pickle.loads(theirs.read_bytes())["device_traces"])


def test_a_rank_started_by_torchrun_is_watched_on_its_own_device(run, script, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    path = script("import torch\ntorch.cuda.set_device(1)\nkept = torch.ones(1024, device='cuda')\n")
    report = run(path, devices=2).report
    assert report["device"] == "simgpu:1" and report["peak_allocated"] == 4096
    assert [figures["peak_allocated"] for figures in report["devices"]] == [0, 4096]


def test_a_loop_is_named_by_its_line(run):
    report = run("plain", steps_from="5").report
    assert (report["steps_from"], report["verdict"], len(report["samples"])) == ("loop", "grows", 30)
    assert report["slope"] == 64 * 64 * 4
    assert any("list `kept`" in holder for holder in held_by(report))


def test_without_any_sign_of_a_step_time_is_sampled(run, script):
    path = script(
        "import time, torch\nkept = []\n"
        "for _ in range(8):\n    time.sleep(0.06)\n    kept.append(torch.ones(4096, device='cuda'))\n"
    )
    report = run(path).report
    assert report["steps_from"] == "time" and report["verdict"] == "grows"


def test_output_is_what_python_alone_prints(run, script):
    """Does a run change a script's numbers, its stdout, its argv or its name?"""
    path = script(
        "import sys, torch\nprint(__name__, __spec__, sys.argv[1:])\ntorch.manual_seed(1)\n"
        "device = 'cuda' if torch.cuda.is_available() else 'cpu'\n"
        "model = torch.nn.Linear(8, 8).to(device)\noptimizer = torch.optim.AdamW(model.parameters())\n"
        "for _ in range(5):\n    loss = model(torch.randn(4, 8).to(device)).pow(2).sum()\n    optimizer.zero_grad()\n"
        "    loss.backward()\n    optimizer.step()\n    print(loss.item())\n"
    )
    alone = subprocess.run([sys.executable, str(path), "a", "b"], capture_output=True, text=True, check=True)
    assert run(path, "a", "b").stdout == alone.stdout


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("raise ValueError('boom')", 1, "ValueError: boom"),
        ("raise SystemExit('bad luck')", 1, "bad luck"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", 130, "KeyboardInterrupt"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, ""),
        ("import flash_attn_of_nobody", 1, "needs the package 'flash_attn_of_nobody', which is not installed"),
        ("raise SystemExit", 0, ""),
    ],
)
def test_every_ending_gets_its_report(run, script, ending, status, said):
    done = run(script(f"import torch\nkept = torch.ones(1024, device='cuda')\nprint('here')\n{ending}\n"))
    assert done.status == status == done.report["exit_status"]
    assert done.stdout == "here\n" and said in done.stderr
    assert done.report["peak_allocated"] == 4096
    assert not is_installed() and not torch.cuda.is_available()


@pytest.mark.slow
def test_spawned_ranks_get_the_device_too_and_nccl_is_served_by_gloo(run):
    """Parameters, gradients, buckets and Adam's two moments: five times the parameters, on each rank."""
    done = run("ranks", devices=2)
    assert done.status == 0 and done.report["verdict"] == "unused"
    assert done.stdout == "0 cuda 3.0 5\n1 cuda 3.0 5\n"
    for rank in range(2):
        assert re.search(rf"SpawnProcess-\d+: device {rank}, peak allocated 1\.\d MiB", done.stderr)
