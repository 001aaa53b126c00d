"""Every lesson of the course, proved: files up to date, stubs fail, answers score, fixtures come out as they say.

All fixtures of a lesson are judged in one process, which imports torch and takes its seal once.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import torch

from autograder.authoring import inspect
from autograder.authoring.build import load
from autograder.authoring.fixtures import expectations
from autograder.authoring.verify import FIXTURE_LIMITS
from autograder.host import environment
from autograder.judge.process import judge

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.stem for path in (ROOT / "lessons").glob("*.py"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_lesson_is_proved(lesson):
    """Does ``make check`` find no fault in this lesson, on the simulated GPU?"""
    with environment(AUTOGRADER_DEVICE="simgpu"):
        report = inspect(ROOT, [lesson])
    assert report.faults == []
    assert report.proofs > 10


def scores(lesson: str, device: str) -> dict[str, tuple[dict[str, float], str]]:
    """Judge stub, answer and all fixtures on a device: for each its scores, and what is not as expected."""
    paths = (ROOT / folder / lesson / f"{lesson}.ipynb" for folder in ("solutions", "notebooks"))
    plan, expected = expectations(load(ROOT / "lessons" / f"{lesson}.py"), *(nbformat.read(p, 4) for p in paths))
    with environment(AUTOGRADER_DEVICE=device):
        found = judge(plan, limits=FIXTURE_LIMITS)
    return {
        e.trial.label: ({name: verdict.score for name, verdict in verdicts.items()}, e.complaint(verdicts))
        for e, verdicts in zip(expected, found, strict=True)
    }


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT PROVED ON CUDA: no CUDA device here")
@pytest.mark.parametrize("lesson", LESSONS)
def test_cuda_and_the_simulated_gpu_give_the_same_verdicts(lesson):
    """GIVEN stub, answer, right and wrong fixtures WHEN judged on both devices THEN the scores are the same, and as expected."""
    on_cuda = scores(lesson, "cuda")
    assert [f"{label}: {complaint}" for label, (_, complaint) in on_cuda.items() if complaint] == []
    assert on_cuda == scores(lesson, "simgpu")
