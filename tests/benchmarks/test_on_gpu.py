"""Does the one command for a lent GPU bring back what it had, whatever goes wrong, and read lessons as the course does?"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from autograder.authoring.build import load
from autograder.authoring.fixtures import expectations
from benchmarks import fidelity, on_gpu
from benchmarks.fidelity_programs import allocator_sequences, compare, lessons, recording, returned, sources
from benchmarks.gpu_run import results, supervisor
from benchmarks.gpu_run.parts import PARTS, Part

ROOT = Path(__file__).resolve().parents[2]
ODD = Part("odd", "what goes wrong", "tests.benchmarks.odd_items", 0.9, silence=2.0)
LACKING = Part("lacking", "a package too few", "tests.benchmarks.lacking_items", 0.5, 10.0, needs=("no_such_one",))
SLOW = Part("slow", "slow", "tests.benchmarks.slow_items", 0.5, 10.0)


@pytest.fixture(autouse=True)
def signals_put_back():
    """The command handles Ctrl-C and SIGTERM itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(out, *parts, minutes="2", more=()):
    """The command with parts of the test's own, on the CPU; returns its status and summary."""
    status = on_gpu.main(["--device", "cpu", "--minutes", minutes, "--out", str(out), *more], parts)
    return status, json.loads((out / results.SUMMARY).read_text())


def test_a_hang_a_crash_and_an_exit_cost_one_item_each(tmp_path):
    """GIVEN items that raise, hang, crash and exit WHEN run THEN each is named with its reason, its values stay, the rest runs."""
    status, summary = run(tmp_path, ODD)
    part = summary["parts"]["odd"]
    assert status == 1 and part["state"] == "complete" and part["ended"] == 7
    reasons = {"raises": "ValueError: an item's own error", "hangs": "hung", "crashes": "SIGSEGV", "exits": "status 7"}
    assert set(part["errors"]) == set(reasons)
    assert all(words in part["errors"][item] for item, words in reasons.items())
    assert "said at last" in part["errors"]["exits"]
    came = results.values(tmp_path / ODD.file, complete=False)
    assert came["hangs"] == "" and came["two"] == "set" and came["two/again"] == 2 and "last" in came
    assert set(results.values(tmp_path / ODD.file)) == {"good", "two", "two/again", "last"}
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _sleeps_here(pid)], (
        "a hang's own child lives on"
    )


def _sleeps_here(pid):
    try:
        return b"time.sleep(600)" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_parts_run_in_order_and_a_missing_package_costs_one_part(tmp_path, capsys):
    """GIVEN a part that cannot be imported, and one that can THEN the first is named with what it lacks, the second runs."""
    status, summary = run(tmp_path, LACKING, SLOW, minutes="0.25")
    lacking, slow = summary["parts"]["lacking"], summary["parts"]["slow"]
    assert status == 1 and lacking["state"] == "nothing" and "no_such_package_as_this" in lacking["why"]
    assert lacking["missing"] == ["no_such_one"] and slow["values"] > 0
    printed = capsys.readouterr().out
    assert printed.index("a package too few") < printed.index("slow (slow)")
    assert "not importable: no_such_one" in printed.splitlines()[-2] and "partial" in printed.splitlines()[-1]


def test_nothing_that_comes_back_is_status_two(tmp_path):
    assert run(tmp_path, LACKING)[0] == 2


def test_the_time_is_kept_and_the_rest_resumed(tmp_path):
    """GIVEN less time than items WHEN run again with --resume THEN what is there is kept and not run again."""
    first, summary = run(tmp_path, SLOW, minutes="0.25")
    had = summary["parts"]["slow"]["ended"]
    assert first == 1 and 0 < had < 100 and summary["parts"]["slow"]["state"] == "partial"
    with (tmp_path / SLOW.file).open("ab") as file:
        file.write(b'{"item": "slow 99", "na')
    run(tmp_path, SLOW, minutes="0.25", more=["--resume"])
    lines = [line["item"] for line in results.read(tmp_path / SLOW.file) if line.get("end")]
    assert len(lines) == len(set(lines)) > had


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_an_interrupted_run_keeps_what_it_had(number, tmp_path):
    """GIVEN a run under way WHEN it gets a signal THEN what came is on disk; a summary too, unless it was SIGKILL."""
    code = "from tests.benchmarks.test_on_gpu import SLOW; from benchmarks import on_gpu; import sys\n"
    code += "sys.exit(on_gpu.main(sys.argv[1:], (SLOW,)))"
    command = [sys.executable, "-c", code, "--device", "cpu", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    while not results.ended(tmp_path / SLOW.file):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert results.values(tmp_path / SLOW.file)
    if number is not signal.SIGKILL:
        assert process.returncode == 1 and "INTERRUPTED" in printed
        assert json.loads((tmp_path / results.SUMMARY).read_text())["parts"]["slow"]["state"] == "partial"


def test_no_file_grows_beyond_its_limit_and_ends_have_room(tmp_path, monkeypatch):
    """GIVEN a small limit WHEN values would pass it THEN they are dropped and counted, and items still end."""
    monkeypatch.setattr(results, "MOST_BYTES", 8000)
    monkeypatch.setattr(results, "_ROOM_FOR_ENDS", 5000)
    _, summary = run(tmp_path, SLOW, minutes="0.25")
    part = summary["parts"]["slow"]
    assert part["bytes"] <= 8000 and part["lines dropped for size"] > 0 and part["ended"] > part["values"]


def test_there_are_at_most_eight_files():
    """GIVEN all parts THEN their files and the summary are eight at most, of 16 MiB at most."""
    assert len({part.file for part in PARTS}) + 1 <= 8 and results.MOST_BYTES < 16 << 20
    assert [part.name for part in PARTS] == ["small", "lessons", "allocator", "tests", "published", "verdicts", "full"]


def test_a_device_that_fails_from_now_on_gets_a_new_process(tmp_path, monkeypatch):
    """GIVEN an item after which the device fails WHEN it ended THEN the next item has another process."""
    started = []
    real = supervisor.Child

    class Spoiling(real):
        def __init__(self, *about):
            started.append(self)
            super().__init__(*about)

        def hear(self, silence):
            line = super().hear(silence)
            return {**line, "spoilt": True} if line.get("item") == "slow 0" and line.get("end") else line

    monkeypatch.setattr(supervisor, "Child", Spoiling)
    run(tmp_path, SLOW, minutes="0.25", more=["--jobs", "1"])
    assert len(started) >= 2 and results.ended(tmp_path / SLOW.file)["slow 0"]["spoilt"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A small selection on the simulated GPU: two programs, a lesson, the allocator's sequences."""
    out = tmp_path_factory.mktemp("gpu") / "back"
    chosen = {
        "small": {"mlp/adamw/fp32", "mlp/sgd/fp32"},
        "lessons": {lessons.title("00_start_here", leak) for leak in (False, True)},
        "allocator": {"allocator/expandable/0"},
    }
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    patch = pytest.MonkeyPatch()
    patch.setattr(on_gpu, "_be_like", lambda folder, run: setattr(run, "wanted", chosen))
    arguments = ["--device", "simgpu", "--parts", *chosen, "--like", "chosen", "--out", str(out), "--minutes", "5"]
    status = on_gpu.main(arguments)
    patch.undo()
    for number, handler in before.items():
        signal.signal(number, handler)
    assert status == 0, (out / results.SUMMARY).read_text()
    return out


def test_what_comes_back_is_compared_with_the_simulated_gpu(recorded, capfd):
    """GIVEN the simulated GPU's own results WHEN compared THEN nothing differs; an altered one does."""
    assert fidelity.main(["--compare", str(recorded)]) == 0
    printed = capfd.readouterr().out
    assert "all targets met" in printed and "00_start_here/01 step" in printed and "allocator: 1 sequences" in printed
    slopes = {name: compare.slope_of(r["allocated"]) for name, r in results.values(recorded / "lessons.jsonl").items()}
    assert slopes["00_start_here/07 step"] == 0 < slopes["00_start_here with leaks/07 step"], (
        "the answer is flat, the leak is not"
    )
    path = recorded / "allocator.jsonl"
    lines = results.read(path)
    lines[1]["value"]["rows"][7][4] += 512
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert fidelity.main(["--compare", str(recorded)]) == 1
    assert "step 7: reserved_bytes.all.current" in capfd.readouterr().out


def test_another_release_is_refused(recorded, tmp_path, capsys):
    """GIVEN results of another PyTorch WHEN compared THEN both versions are named and nothing is run."""
    lines = results.read(recorded / "small.jsonl")
    lines[0]["about"]["torch"] = "2.4.1+cu121"
    (tmp_path / "small.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert fidelity.main(["--compare", str(tmp_path)]) == 2
    assert "2.4.1+cu121" in capsys.readouterr().err and not tmp_path.with_name(f"{tmp_path.name}-simgpu").exists()


def test_what_comes_back_can_be_kept(recorded, tmp_path, monkeypatch):
    """GIVEN a folder WHEN kept THEN tests/golden has recordings with GPU, versions and the command."""
    monkeypatch.setattr(recording, "GOLDEN", tmp_path)
    assert fidelity.main(["--keep", str(recorded)]) == 0
    about = recording.load(tmp_path / "fidelity_simulated-gpu_small.json")["about"]
    assert about["gpu"] == "Simulated GPU" and about["torch"] and "on_gpu.py" in about["command"]
    assert (
        "allocator/expandable/0" in json.loads((tmp_path / "gpu_simulated-gpu_allocator.json").read_text())["sequences"]
    )
    assert recording.recordings() == [tmp_path / "fidelity_simulated-gpu_small.json"]


def test_sequences_come_to_retries_and_failures():
    """GIVEN the allocator's sequences THEN they take, give back and empty, and reach their limit."""
    acts = allocator_sequences.sequence(0)
    assert acts == allocator_sequences.sequence(0) and {act for act, *_ in acts} == {"take", "give", "empty"}


@pytest.mark.parametrize("lesson", lessons.names())
def test_lessons_are_read_as_the_course_reads_them(lesson):
    """GIVEN a lesson WHEN read without jupytext and nbformat THEN the trials are those of ``make check``."""
    paths = (ROOT / folder / lesson / f"{lesson}.ipynb" for folder in ("solutions", "notebooks"))
    plan, _ = expectations(load(ROOT / "lessons" / f"{lesson}.py"), *(nbformat.read(path, 4) for path in paths))
    assert sources.plan(lesson) == plan


def test_every_exercise_has_a_wrong_answer_to_run_with():
    """GIVEN a lesson's first wrong answers THEN each exercise of the lesson has one."""
    for lesson in lessons.names():
        assert set(sources.first_wrong(lesson)) == {fixture.exercise for fixture in sources.fixtures(lesson)}


def test_returned_needs_a_folder_of_results(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        returned.about(tmp_path)
