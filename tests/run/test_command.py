"""What does the command say, draw and refuse?"""

import subprocess
import sys

import pytest

from autograder.errors import RunError, SetupError
from autograder.run import Options, run_script
from autograder.run.sparkline import sparkline
from autograder.run.verdict import verdict_on, warmup_for
from tests.run.conftest import SCRIPTS


def test_the_report_goes_to_stderr_and_says_everything(capsys, tmp_path):
    plot = tmp_path / "memory.png"
    assert run_script(str(SCRIPTS / "leak_losses.py"), [], Options(plot=str(plot))) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1, "the script's own line"
    for part in (
        "leak_losses.py on Simulated GPU, 8.0 GiB, torch ", "20 steps (one per step of SGD), the first 3 of them warm-up",
        "allocated ▁", "host to device", "Peak allocated ", "Verdict: memory GROWS by ", "would be full after about",
        "Diagnosis, after step 16 of 20:", "held by list `losses` of function `main`",
        "Highest in step",
    ):  # fmt: skip
        assert part in said.err
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("between", [[], ["--"]], ids=["plain", "after two dashes"])
def test_the_command_itself_runs_a_script_and_leaves_it_options_like_its_own(between):
    """One real process: are stdout, the exit status and the script's options kept apart from ours?"""
    command = [sys.executable, "-m", "autograder", "run", "--capacity", "64MiB", str(SCRIPTS / "options.py")]
    done = subprocess.run(
        [*command, *between, "--device", "cuda", "--status", "4"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stdout == "__main__ True ['--device', 'cuda', '--status', '4'] cuda\n"
    assert "on Simulated GPU, 64.0 MiB" in done.stderr and "too few steps to judge" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no script"),
        (b"def f(:\n", "script.py, line 1 is not Python"),
        (b"\x89PNG\r\n\x1a\n\x00", "is not"),
    ],
)
def test_what_is_no_script_is_refused_in_one_sentence(tmp_path, content, said):
    path = tmp_path / "script.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=said):
        run_script(str(path), [])


def test_options_that_make_no_sense_are_refused(tmp_path):
    for options in ({"device": "tpu"}, {"devices": 0}, {"steps_from": "epochs"}):
        with pytest.raises(RunError, match="expected"):
            Options(**options)
    with pytest.raises(RunError, match="no loop begins in line 2 of .*; loops begin in lines: 5"):
        run_script(str(SCRIPTS / "plain.py"), [], Options(steps_from="2"))
    with pytest.raises(SetupError, match="--capacity='plenty' is no size"):
        run_script(str(SCRIPTS / "plain.py"), [], Options(capacity="plenty"))
    with pytest.raises(RunError, match="finds no CUDA device"):
        run_script(str(SCRIPTS / "plain.py"), [], Options(device="cuda"))


class FakeTrace:
    def __init__(self, levels):
        from autograder.trace import Sample, robust_slope

        self.steady = [Sample(i, level, level, level, 0, 0, 0, 0, 0, 0) for i, level in enumerate(levels)]
        self.slope = robust_slope(levels)
        self.samples, self.final, self.highest = self.steady, levels[-1], max(levels)


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        ([5000] * 12, "flat"),
        ([5000 + 512 * i for i in range(12)], "grows"),
        ([5000 + 4096 * (i // 5) for i in range(40)], "grows"),  # one leak per epoch
        ([5000 + 512 * i + (i % 3) * 900 for i in range(40)], "grows"),  # batches of several sizes
        ([5000 + (i * 7919 % 13) * 1024 for i in range(60)], "varies"),
        ([5000] * 10 + [9096] * 30, "rose"),
        ([5000, 6000, 7000], "unknown"),
    ],
)
def test_the_verdict_looks_at_the_floor(levels, kind):
    assert verdict_on(FakeTrace(levels), "step", 1 << 30).kind == kind


def test_warmup_leaves_enough_steps_for_a_verdict():
    assert [warmup_for(steps) for steps in (0, 3, 5, 7, 100)] == [0, 0, 1, 3, 3]


def test_a_sparkline_is_level_where_hardly_anything_moves():
    assert sparkline([10000, 10001, 10002], 10) == "███"
    assert sparkline(range(120), 60)[0] == "▁" and len(sparkline(range(120), 60)) == 60
    assert sparkline([0, 0], 10) == "▁▁" and sparkline([0, 10], 10, draw=False) == "_#"
