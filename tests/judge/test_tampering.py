"""Whatever an answer replaces, the check uses the original, and the learner is told."""

from __future__ import annotations

import builtins

import pytest
import torch

from autograder.judge.plan import Answer, Trial
from autograder.judge.seal import Seal
from autograder.judge.session import Session
from autograder.judge.torch_state import Switches
from tests.judge.conftest import RIGHT, WRONG, make_plan

REPLACEMENTS = {
    "a check": ("import autograder.checks as c\nc.flat = lambda *a, **k: 1\n", "autograder.checks.flat"),
    "several checks": ("import autograder as ag\nag.check.flat = ag.check.same = print\n", "autograder.checks.same"),
    "the package's name for the checks": ("import autograder as ag\nag.check = None\n", "autograder.check"),
    "the recorder": ("import autograder as ag\nag.record = None\n", "autograder.record"),
    "a property of a class": ("import autograder as ag\nag.Trace.slope = 0.0\n", "Trace.slope"),
    "the code of a function": (
        "import autograder.trace.samples as s\ns.robust_slope.__code__ = (lambda values: 0.0).__code__\n",
        "robust_slope",
    ),
    "a constant": ("import autograder.trace.samples as s\ns.MAX_SLOPE_POINTS = 2\n", "MAX_SLOPE_POINTS"),
    "a hidden builtin": ("import autograder.trace.samples as s\ns.max = min\n", "autograder.trace.samples.max"),
    "a module": ("import sys\nsys.modules['autograder.checks'] = None\n", "autograder.checks"),
    "torch's counters": ("torch.cuda.memory_allocated = lambda *a: 0\n", "torch.cuda.memory_allocated"),
    "a method of tensors": ("torch.Tensor.sum = lambda self: 0\n", "torch.Tensor.sum"),
    "a builtin": ("import builtins\nbuiltins.sum = lambda values: 0\n", "builtins.sum"),
    "the clock": ("import time\ntime.monotonic = lambda: 0\n", "time.monotonic"),
    "a given method": ("Scale.forward = lambda self, x: x * 0\n", "Scale.forward"),
    "the judge": ("import autograder.judge.verdict as v\nv.score_of = lambda *a: 2.0\n", "score_of"),
    "the device watched": (
        "import autograder.trace.devices as d, torch\nd._chosen = torch.device('meta')\nd.default_device = None\n",
        "default_device",
    ),
}


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_a_replacement_in_the_answer_scores_nothing(judged, what):
    """GIVEN a right answer that also replaces something trusted, THEN 0 points and its name."""
    source, named = REPLACEMENTS[what]
    verdict = judged(RIGHT + source)
    assert verdict.score == 0
    assert verdict.reason.startswith("tampered: ")
    assert named in verdict.reason


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_a_replacement_elsewhere_is_undone(judged, what):
    """GIVEN the replacement in another cell, THEN the verdict is the answer's own, and a note says what was undone."""
    source, named = REPLACEMENTS[what]
    wrong, right = judged(WRONG, source), judged(RIGHT, source)
    assert (wrong.score, right.score) == (0, 2)
    assert "wrong results" in wrong.reason
    assert named in right.message and "it was put back" in right.message


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_a_replacement_while_the_answer_runs_is_seen(judged, what):
    """GIVEN an answer that replaces things only when the check calls it, THEN 0 points."""
    source, _ = REPLACEMENTS[what]
    body = "".join(f"    {line}\n" for line in source.splitlines())
    verdict = judged("def answer(x):\n    result = total(x)\n" + body + "    return result\n")
    assert verdict.score == 0
    assert verdict.reason.startswith("tampered: ")


def test_a_given_function_is_the_learners_own_copy(judged):
    """GIVEN an answer that changes a given function's code, THEN only its own copy changes."""
    verdict = judged("total.__code__ = (lambda x: 0.0).__code__\ndef answer(x):\n    return total(x)\n")
    assert "wrong results: 0.0" in verdict.reason


def test_shell_tricks_do_not_exist_here(judged):
    """Can an answer register input transformers, or replace run_cell?"""
    verdict = judged(WRONG + "get_ipython().input_transformers_cleanup.append(lambda lines: [])\n")
    assert verdict.score == 0
    assert "wrong results" in verdict.reason


def test_a_replacement_does_not_outlive_its_trial(judged):
    """Is the next learner judged with everything in place?"""
    judged(WRONG + "import builtins\nbuiltins.sum = None\ntorch.Tensor.sum = None\n")
    assert judged(RIGHT).score == 2
    assert builtins.sum([1, 2]) == 3


def test_an_unharmed_process_has_nothing_broken():
    """Does ordinary work with torch count as tampering?"""
    seal = Seal()
    layer = torch.nn.Linear(2, 2)
    torch.optim.Adam(layer.parameters()).zero_grad()
    layer(torch.ones(1, 2)).sum().backward()
    torch.manual_seed(0)
    assert seal.broken() == []


def test_switches_are_set_back():
    """GIVEN an answer that flips torch's switches and leaves a mode open, THEN the next exercise does not feel it."""
    from torch.overrides import BaseTorchFunctionMode

    switches = Switches()
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    BaseTorchFunctionMode().__enter__()
    switches.restore()
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch._C._len_torch_function_stack() == 0


MENDS_ITSELF = """
import autograder.units as units

def answer(x):
    honest = units.human
    def lie(n):
        units.human = honest
        return "0 B"
    units.human = lie
    return total(x)
"""


@pytest.mark.parametrize(
    "check",
    [
        "import autograder as ag\nanswer(torch.ones(4))\nimported = ag.units.human(4096)\nassert imported == '0 B'\n2",
        "import autograder as ag\ndef verdict():\n    answer(torch.ones(4))\n    assert ag.units.human(4096) == '0 B'\nverdict()\n2",
    ],
    ids=["in the cell", "in a function of the cell"],
)
def test_a_replacement_that_mends_itself_is_seen(check):
    """GIVEN a replacement that puts the original back once it has lied, THEN it is seen before it can lie."""
    session = Session(make_plan(check=check))
    (verdict,) = session.run(Trial("t", (Answer("a", MENDS_ITSELF, "answer"),)))
    assert verdict.score == 0
    assert "`autograder.units.human` was replaced while your answer ran" in verdict.reason
