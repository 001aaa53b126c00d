"""Does the comparison with recordings of a real GPU find what is wrong, and pass what is right?

There is no recording of a real GPU in the project yet; here the simulated GPU is recorded against itself.
"""

import copy

import pytest
import torch

from autograder import simgpu
from benchmarks import fidelity
from benchmarks.fidelity_programs import compare, lessons, recording, training

PROGRAMS = ("mlp/adamw/fp32", "unet/adamw/fp32")


@pytest.fixture
def settled(monkeypatch):
    """The device as it was, afterwards; no variable kept."""
    device = simgpu.enable()
    before = torch.simgpu.mem_get_info()[1]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:2:16:8")
    yield device
    torch.simgpu.set_cublas_workspaces(False)
    torch.simgpu.empty_cache()
    torch.simgpu.set_capacity(before)


@pytest.fixture(scope="module")
def recorded():
    """A small recording of the simulated GPU."""
    device = simgpu.enable()
    torch.simgpu.set_cublas_workspaces(True)
    document = {"format": recording.FORMAT, "about": recording.about(device), "size": "small", "verdicts": {}}
    chosen = [program for program in training.programs() if program.name in PROGRAMS]
    document["programs"] = {program.name: training.measure(program, device, full=False) for program in chosen}
    training.empty_device(device)
    torch.simgpu.set_cublas_workspaces(False)
    return document


def run(*arguments):
    return fidelity.main(["--size", "small", "--lessons", "none", *arguments])


def test_the_command_agrees_with_its_own_recording(recorded, settled, tmp_path, monkeypatch, capsys):
    """GIVEN a recording WHEN the same programs run again THEN every reading is the same, byte for byte."""
    monkeypatch.setattr(recording, "GOLDEN", tmp_path)
    recording.save(recorded, recording.path_for(recorded))
    assert recording.load(recording.recordings()[0]) == recorded
    assert run("--only", PROGRAMS[1], "--out", str(tmp_path / "out.json")) == 0
    printed = capsys.readouterr().out
    assert "all targets met" in printed and f"{PROGRAMS[1]}  " in printed and "0.00%" in printed


def test_the_recorder_writes_what_the_comparison_reads(settled, tmp_path, monkeypatch, capsys):
    """GIVEN --record on the simulated GPU, as on CUDA WHEN compared with itself THEN nothing differs; and CUDA that is
    not there is not recorded."""
    monkeypatch.setattr(recording, "GOLDEN", tmp_path)
    only = ("--only", PROGRAMS[0])
    assert run("--record", "--device", "simgpu", *only) == 0
    (path,) = recording.recordings()
    about = recording.load(path)["about"]
    assert path.name == "fidelity_simulated-gpu_small.json" and about["gpu"] == "Simulated GPU"
    assert about["torch"] == torch.__version__ and "python" in about["command"]
    assert run(*only, "--out", str(tmp_path / "out.json")) == 0
    assert "all targets met" in capsys.readouterr().out
    if not torch.cuda.is_available():
        assert run("--record", *only) == 2
        assert "expected a CUDA device to record" in capsys.readouterr().err


def altered(recorded, name, quantity, factor=1.0, per_step=0):
    document = copy.deepcopy(recorded)
    values = document["programs"][name][quantity]
    document["programs"][name][quantity] = [int(v * factor) + k * per_step for k, v in enumerate(values)]
    return document


@pytest.mark.parametrize(
    "change, words",
    [
        ({"quantity": "peak", "factor": 1.1}, "worst error of peak"),
        ({"quantity": "allocated", "per_step": 512}, "slope 0 bytes per step, expected 512"),
        ({"quantity": "reserved", "factor": 1.6}, "median error of reserved"),
    ],
)
def test_a_recording_altered_on_purpose_is_found_wrong(change, words, recorded):
    """GIVEN one changed figure THEN the target that it breaks is named."""
    missed = compare.compare(altered(recorded, PROGRAMS[0], **change), recorded).missed()
    assert any(words in line for line in missed), missed
    assert compare.compare(recorded, recorded).missed() == []


def test_the_command_fails_on_an_altered_recording(recorded, settled, tmp_path, monkeypatch, capsys):
    """GIVEN a recording with 10 % more peak WHEN compared THEN the exit status is 1 and the table says MISSED."""
    monkeypatch.setattr(recording, "GOLDEN", tmp_path)
    wrong = altered(recorded, PROGRAMS[1], "peak", 1.1)
    recording.save(wrong, recording.path_for(wrong))
    assert run("--only", PROGRAMS[1], "--out", str(tmp_path / "out.json")) == 1
    assert "MISSED" in capsys.readouterr().out


def test_verdicts_and_missing_programs_are_compared(recorded):
    """GIVEN another score, and a program that did not run THEN both are named."""
    reference = {**recorded, "verdicts": {"01_x": {"answers": {"check": [3.0, True]}}}}
    actual = {**recorded, "programs": {}, "verdicts": {"01_x": {"answers": {"check": [0.0, False]}}}}
    comparison = compare.compare(reference, actual)
    missed = "\n".join(comparison.missed())
    assert "01_x, answers, check" in missed
    assert all(f"{name}: did not run" in missed for name in PROGRAMS)


def test_without_a_recording_nothing_is_claimed(settled, tmp_path, monkeypatch, capsys):
    """GIVEN no CUDA and no recording THEN the command says that fidelity is not measured, and how to measure it."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    monkeypatch.setattr(recording, "GOLDEN", tmp_path)
    assert run() == 0
    printed = capsys.readouterr().out
    assert "not measured" in printed and "--record" in printed


def test_a_lesson_comes_along_by_itself():
    """GIVEN a lesson's notebook WHEN run as a program THEN its leak grows and its fix does not."""
    found = lessons.traces("00_start_here", "simgpu")
    assert not [name for name in found if "raises" in name]
    slopes = [compare.slope_of(readings["allocated"]) for readings in found.values()]
    assert max(slopes) > 0 and min(slopes) == 0


def test_a_program_without_steps_is_compared_by_its_name():
    """GIVEN a cell that raises on both devices THEN there is nothing to compare, and nothing is missed."""
    document = {"programs": {"cell 3 raises ValueError": {q: [] for q in ("allocated", "peak", "reserved")}}}
    assert compare.compare(document, document).missed() == []
