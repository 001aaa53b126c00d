"""The simulated GPU's books are compared with the storages that live, after each statement of a check."""

from __future__ import annotations

import dataclasses

import pytest

from autograder.judge.plan import Answer, Check, Given, Plan, Trial
from autograder.judge.process import Limits, judge

SETUP = "import autograder as ag\nimport torch\ndevice = ag.setup('00_start_here')\n"
CHECK = """
def verdict():
    kept = answer(torch.ones(1000, device=device))
    assert float(kept.sum()) == 2000, "wrong results"

verdict()
2
"""
LEDGER = "    from autograder.simgpu.ledger import LEDGER\n"
HONEST = "def answer(x):\n    y = x * 2\n"
TRIALS = {
    "honest": HONEST + "    return y\n",
    "views, resizing and copies": HONEST
    + "    y.resize_(2000)\n    z = y[:1000].clone()\n    w = z.cpu().to(device)\n    return w.view(10, 100)\n",
    "a graph that only C++ holds": "p = torch.ones(1000, device=device, requires_grad=True)\nkept = []\n"
    "def answer(x):\n    kept.append((p * x).exp().sum())\n    return x * 2\n",
    "statistics made smaller": HONEST + LEDGER + "    LEDGER.allocator.small.stats.nbytes -= 4096\n    return y\n",
    "a record taken off": "kept = []\n"
    + HONEST
    + "    kept.append(y)\n    del y.untyped_storage()._simgpu_record\n    return x * 2\n",
    "a live block freed": "kept = []\n"
    + HONEST
    + LEDGER
    + "    kept.append(y)\n    r = y.untyped_storage()._simgpu_record\n    LEDGER._live.pop(r.block.address)\n"
    "    LEDGER.allocator.free(r.block)\n    r.block = None\n    return x * 2\n",
    "put out of the collector's sight": "import gc\nkept = []\n"
    + HONEST
    + LEDGER
    + "    kept.append(y)\n    gc.freeze()\n    r = y.untyped_storage()._simgpu_record\n"
    "    LEDGER._live.pop(r.block.address)\n    LEDGER.allocator.free(r.block)\n    r.block = None\n    return x * 2\n",
    "set up on the CPU and back": (
        "import os\nos.environ['AUTOGRADER_DEVICE'] = 'cpu'\nag.setup('00_start_here')\n"
        "os.environ['AUTOGRADER_DEVICE'] = 'simgpu'\nag.setup('00_start_here')\n" + HONEST + "    return y\n"
    ),
}


@pytest.fixture(scope="module")
def verdicts():
    """Judge every trial on the simulated GPU, in one request."""
    plan = Plan((Given("setup", SETUP, setup=True),), (Check("check-answer", "answer", 2.0, CHECK, ("answer",)),))
    trials = tuple(Trial(label, (Answer("a", source, "answer"),)) for label, source in TRIALS.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGRADER_DEVICE", "simgpu")
        found = judge(dataclasses.replace(plan, trials=trials), limits=Limits(each=30.0, total=200.0))
    return {label: verdict["check-answer"] for label, verdict in zip(TRIALS, found, strict=True)}


@pytest.mark.parametrize("label", ["honest", "views, resizing and copies", "a graph that only C++ holds"])
def test_honest_work_balances(verdicts, label):
    """Do the books agree with what lives, also where only a graph keeps it alive?"""
    assert (verdicts[label].score, verdicts[label].message) == (2.0, "")


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("statistics made smaller", "they say 4.0 KiB less"),
        ("a record taken off", "must be in the books"),
        ("a live block freed", "must be in the books"),
        ("put out of the collector's sight", "gc.freeze"),
    ],
)
def test_cooked_books_are_seen(verdicts, label, said):
    """GIVEN an answer that makes the device forget memory that lives, THEN 0 points."""
    assert verdicts[label].score == 0
    assert said in verdicts[label].reason


def test_choosing_another_device_for_a_while_is_fine(verdicts):
    """GIVEN a right answer whose cell tried the CPU as well, THEN it can be judged."""
    assert verdicts["set up on the CPU and back"].score == 2
