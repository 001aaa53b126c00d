"""The audit hook leaves honest work alone, charges what it saw to the right exercise, and cannot be made to forget."""

from __future__ import annotations

import sys

import pytest

from autograder.judge.eyes import shared_eyes

HONEST = {
    "namedtuple, dataclass, enum, typing": (
        "import collections, dataclasses, enum, typing\n"
        "Pair = collections.namedtuple('Pair', 'a b')\n"
        "@dataclasses.dataclass\nclass Kept:\n    a: float = 0.0\n"
        "class Kind(enum.Enum):\n    A = 1\n"
        "class Typed(typing.NamedTuple):\n    a: int\n"
        "T = typing.TypeVar('T')\nassert Pair(1, 2).a == Typed(1).a == Kind.A.value\n"
    ),
    "warnings and logging": (
        "import logging, warnings\nlogging.getLogger('x').warning('said', stack_info=True)\n"
        "with warnings.catch_warnings(record=True):\n    warnings.warn('said', stacklevel=2)\n"
    ),
    "tracebacks as text": (
        "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError as error:\n    traceback.print_exc()\n"
        "    traceback.format_exception(error)\n    traceback.extract_tb(error.__traceback__)\ntraceback.format_stack()\n"
    ),
    "contextlib and abc": (
        "import abc, contextlib\n@contextlib.contextmanager\ndef manager():\n    yield 1\n"
        "with contextlib.ExitStack() as stack:\n    stack.enter_context(manager())\n    stack.callback(print)\n"
        "class Base(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n"
    ),
    "the collector": "import gc\ngc.collect()\ngc.disable()\ngc.enable()\n",
    "inspect": "import inspect\ninspect.signature(total)\ninspect.getmembers(Scale)\ninspect.isgenerator(total)\n",
    "hooks of torch": (
        "layer = torch.nn.Linear(2, 2)\nhandle = layer.register_forward_hook(lambda *a: None)\nlayer(torch.ones(1, 2))\n"
        "handle.remove()\ny = torch.ones(2, requires_grad=True)\ny.register_hook(lambda g: g)\ny.sum().backward()\n"
    ),
    "checkpointing": (
        "from torch.utils.checkpoint import checkpoint\ny = torch.ones(2, requires_grad=True)\n"
        "checkpoint(torch.exp, y, use_reentrant=False).sum().backward()\n"
    ),
    "a data loader": (
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "for batch in DataLoader(TensorDataset(torch.ones(4)), batch_size=2, shuffle=True): pass\n"
    ),
    "an optimizer and a schedule": (
        "p = torch.nn.Parameter(torch.ones(2))\no = torch.optim.AdamW([p])\n"
        "s = torch.optim.lr_scheduler.StepLR(o, 1)\np.sum().backward()\no.step()\ns.step()\n"
    ),
    "the compiler's imports": "import torch._inductor.config, torch._dynamo.config, torch.fx\ntorch.fx.symbolic_trace(Scale())\n",
    "numpy's pointers": "import numpy\nnumpy.ones(3).ctypes.data\nnumpy.frombuffer(b'12345678').copy()\ntorch.ones(3).numpy()\n",
    "asyncio": (  # in a thread: the browser's tests may have left a loop in this one
        "import asyncio\nfrom concurrent.futures import ThreadPoolExecutor\nasync def work():\n    await asyncio.sleep(0)\n"
        "with ThreadPoolExecutor(1) as pool:\n    pool.submit(lambda: asyncio.run(work())).result()\n"
    ),
    "threads that are joined": (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as pool:\n"
        "    assert list(pool.map(abs, [-1, 2])) == [1, 2]\n"
    ),
    "copying, pickling, evaluating": (
        "import copy, io, pickle\ncopy.deepcopy(torch.nn.Linear(2, 2))\npickle.loads(pickle.dumps({'a': 1}))\n"
        "file = io.BytesIO()\ntorch.save(torch.ones(2), file)\nfile.seek(0)\ntorch.load(file)\n"
        "eval('1 + 1')\nexec('a = 1', {})\n"
    ),
    "its own memory, as Linux tells it": "open('/proc/self/statm').read()\nopen('/proc/meminfo').read()\n",
    "a plot": "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.close('all')\n",
    "a late import": "import calendar, colorsys, wave, xml.dom.minidom\n",
}
RIGHT = "def answer(x):\n    return total(x)\n"


@pytest.mark.parametrize("what", HONEST)
def test_honest_work_is_left_alone(judged, what):
    """GIVEN a right answer that uses what looks at frames or runs code for its own ends, THEN all points."""
    in_the_cell = judged(HONEST[what] + RIGHT)
    assert (in_the_cell.score, in_the_cell.reason) == (2, "")
    body = "".join(f"    {line}\n" for line in HONEST[what].splitlines())
    when_called = judged("def answer(x):\n" + body + "    return total(x)\n")
    assert (when_called.score, when_called.reason) == (2, "")


LOOK = "import sys\nframe = sys._getframe()\n"


def test_a_look_from_another_cell_costs_nothing(judged):
    """GIVEN a look at frames in a cell that is no answer, THEN it is stopped, and a remark says so."""
    verdict = judged(RIGHT, LOOK)
    assert verdict.score == 2
    assert "(sys._getframe), line 2: `frame = sys._getframe()`" in verdict.notes[0]
    assert "It was stopped" in verdict.notes[0]


def test_a_look_by_a_helper_costs_the_answer_that_called_it(judged):
    """GIVEN a function of another cell that looks at frames when the answer calls it, THEN the answer gets nothing."""
    helper = "import sys\ndef peek():\n    return sys._getframe(2).f_locals\n"
    verdict = judged("def answer(x):\n    return peek() and total(x)\n", helper)
    assert verdict.score == 0
    assert "(sys._getframe), line 3" in verdict.reason


def test_a_caught_refusal_is_still_noted(judged):
    """GIVEN an answer that tries, swallows the refusal and then answers rightly, THEN 0 points."""
    tries = "import sys\ndef answer(x):\n    try:\n        sys._getframe(1)\n    except BaseException:\n        pass\n"
    assert judged(tries + "    return total(x)\n").score == 0


def test_the_hook_is_not_to_be_found(judged):
    """GIVEN an answer that empties every table of the hook's modules, THEN it is seen all the same."""
    empties = (
        "from autograder.judge import eyes, guarded, looking, sights\n"
        "for module in (eyes, guarded, looking, sights):\n"
        "    for thing in list(vars(module).values()):\n"
        "        if type(thing) is dict and '__name__' not in thing: thing.clear()\n"
    )
    verdict = judged(RIGHT + empties + LOOK)
    assert "sys._getframe" in verdict.reason


def test_a_refused_recursion_leaves_no_free_look(judged):
    """GIVEN looks at every depth of the stack until it overflows, THEN none of them is let through."""
    deep = (
        "import sys\nfound = []\ndef deep():\n    try:\n        found.append(sys._getframe(1))\n    except Exception:\n"
        "        pass\n    deep()\n"
        "def answer(x):\n    try:\n        deep()\n    except RecursionError:\n        pass\n"
        "    try:\n        found.append(sys._getframe(1))\n    except Exception:\n        pass\n"
        "    global looks\n    looks = len(found)\n    assert not found, 'a frame was handed out'\n    return total(x)\n"
    )
    verdict = judged(deep)
    assert verdict.score == 0
    assert "sys._getframe" in verdict.reason


def test_code_of_ours_may_look_where_it_says_so():
    """GIVEN an armed hook, THEN code of this package that names the call looks at frames, and code that does not may not."""
    eyes, space = shared_eyes(), {"sys": sys, "look": sys._getframe}
    for source in ("def said():\n    return sys._getframe()\n", "def unsaid():\n    return look()\n"):
        exec(compile(source, "<check>", "exec"), space)  # noqa: S102
    eyes.arm(["<check>"])
    try:
        assert space["said"]().f_code.co_name == "said"
        with pytest.raises(PermissionError, match="looked at the grader's frames"):
            space["unsaid"]()
    finally:
        eyes.disarm()
        eyes.take()
