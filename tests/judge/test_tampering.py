"""Whatever an answer replaces, the check uses the original, and the learner is told."""

from __future__ import annotations

import builtins
import sys

import pytest
import torch

from autograder.judge.plan import Answer, Trial
from autograder.judge.seal import Seal
from autograder.judge.sealed import SealedFunction
from autograder.judge.session import Session
from autograder.judge.torch_state import Switches
from tests.judge.attacks import WRONG
from tests.judge.conftest import CHECK, RIGHT, make_plan

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
    "the code of a function of torch": (
        "torch.nn.functional.cross_entropy.__code__ = (lambda *a, **k: a[0]).__code__\n",
        "torch.nn.functional.cross_entropy",
    ),
    "what a function of torch calls": ("torch._C._nn.cross_entropy_loss = lambda *a: 0\n", "_nn.cross_entropy_loss"),
    "a layer's method": ("torch.nn.Linear.forward = lambda self, x: x\n", "Linear.forward"),
    "the bases of a class": ("torch.nn.Linear.__bases__ = (torch.nn.Bilinear,)\n", "torch.nn.modules.linear.Linear"),
    "an optimizer's method": ("torch.optim.SGD.zero_grad = lambda self: None\n", "torch.optim.sgd.SGD.zero_grad"),
    "the class of a module": (
        "import autograder.checks as c, types\nc.__class__ = type('Fake', (types.ModuleType,), {})\n",
        "autograder.checks",
    ),
    "what the slope is made of": (
        "import numpy.lib._function_base_impl as n\nn._median = lambda *a, **k: 0.0\n",
        "_function_base_impl._median",
    ),
    "the code of a function of numpy": (
        "import numpy\nnumpy.median.__wrapped__.__code__ = (lambda *a, **k: 0.0).__code__\n",
        "median",
    ),
    "hooks of every layer": (
        "torch.nn.modules.module.register_module_forward_hook(lambda *a: None)\n",
        "_global_forward_hooks",
    ),
    "the builtins that the seal is made of": (
        "import builtins\nbuiltins.all = builtins.any = lambda *a: True\n",
        "builtins.all",
    ),
    "a builtin hidden from the seal": (
        "import autograder.judge.sealed as s\ns.map = lambda *a: []\n",
        "autograder.judge.map",
    ),
    "a given constant": ("Scale.factor = 3.0\n", "Scale.factor"),
    "a name of the checks": ("Scale.forward.__globals__['total'] = lambda x: 0.0\n", "total"),
    "a name the checks do not use": ("Scale.forward.__globals__['print'] = lambda x: 0.0\n", "print"),
    "the builtins of the checks": ("Scale.forward.__globals__['__builtins__'] = {}\n", "__builtins__"),
    "a function of the checks": (
        "Scale.forward.__globals__['total'].__code__ = (lambda x: 0.0).__code__\n",
        "total",
    ),
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


def test_a_check_replaced_before_its_hidden_test_is_seen():
    """GIVEN an answer that swaps the check's own function during the visible test, THEN the hidden one is not lost."""
    source = (
        "def answer(x):\n    Scale.forward.__globals__['verdict'] = lambda size: None\n    return float(2 * x.sum())\n"
    )
    check = CHECK.replace("verdict(4)", "verdict(4)\nverdict(8)")
    (verdict,) = Session(make_plan(check=check)).run(Trial("t", (Answer("a", source, "answer"),)))
    assert verdict.reason.startswith("tampered: `verdict` was replaced")


def test_a_check_may_bind_what_it_likes():
    """Does a check that rebinds names, also a given one and through ``global``, count as tampering?"""
    check = (
        "import math\nfound = total = answer(torch.ones(4))\ncount = 0\n"
        "def again():\n    global count, fresh\n    count += 1\n    fresh = [count for _ in range(2)]\n"
        "for size in (1, 2):\n    found, total = answer(torch.ones(size)), size\n    again()\n"
        "with torch.no_grad() as nothing:\n    again()\nassert (last := count) == 3\nfound\n2"
    )
    (verdict,) = Session(make_plan(check=check)).run(Trial("t", (Answer("a", RIGHT, "answer"),)))
    assert (verdict.score, verdict.message) == (2.0, "")


MODE = """
from torch.utils._python_dispatch import TorchDispatchMode
class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        return f(*args, **(kwargs or {}))
"""
LEFT_ON = {
    "a dispatch mode": (
        MODE + "Mode().__enter__()\n",
        "a torch dispatch mode",
    ),
    "a function mode": (
        "from torch.overrides import BaseTorchFunctionMode as M\nM().__enter__()\n",
        "a torch function mode",
    ),
    "a callback of the garbage collector": ("import gc\ngc.callbacks.append(lambda *a: None)\n", "gc.callbacks"),
    "a frozen collector": ("import gc\ngc.freeze()\n", "gc.freeze"),
    "hooks for saved tensors": ("torch.autograd.graph.save_on_cpu().__enter__()\n", "hooks for saved tensors"),
}


@pytest.mark.parametrize("what", LEFT_ON)
def test_what_the_answer_leaves_on_is_seen(judged, what):
    """GIVEN an answer that leaves a switch on when it returns, THEN 0 points and the switch's name."""
    source, named = LEFT_ON[what]
    body = "".join(f"    {line}\n" for line in source.splitlines())
    verdict = judged("def answer(x):\n    result = total(x)\n" + body + "    return result\n")
    assert verdict.score == 0
    assert verdict.reason.startswith("tampered: ")
    assert named in verdict.reason and "still" in verdict.reason


@pytest.mark.parametrize("what", LEFT_ON)
def test_what_another_cell_leaves_on_is_put_back(judged, what):
    """GIVEN a switch left on by another cell, THEN a right answer is still right."""
    assert judged(RIGHT, LEFT_ON[what][0]).score == 2


THREAD = "import threading\nstop = threading.Event()\nworker = threading.Thread(target=stop.wait, daemon=True)\nworker.start()\n"


def test_a_thread_that_goes_on_is_named_kindly(judged):
    """GIVEN a thread that outlives the answer, THEN no points, and the advice to join it. A joined one costs nothing."""
    endless = judged(RIGHT + THREAD + "import sys\nsys.modules['left_over_for_the_test'] = stop\n")
    sys.modules.pop("left_over_for_the_test").set()
    assert endless.score == 0
    assert "1 thread of yours still ran" in endless.reason and "join threads" in endless.reason
    assert judged(RIGHT + THREAD + "stop.set()\nworker.join()\n").score == 2


def test_what_a_function_encloses_is_sealed():
    """GIVEN a decorated function, WHEN the function inside its wrapper is exchanged, THEN that is seen and undone."""

    def decorate(function):
        return lambda: function()

    decorated = decorate(lambda: "honest")
    part = SealedFunction(decorated)
    assert part.broken() == []
    decorated.__closure__[0].cell_contents = lambda: "a lie"
    assert len(part.broken()) == 1
    part.restore()
    assert decorated() == "honest"


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
