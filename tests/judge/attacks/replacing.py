"""Replacing what the check relies on."""

from tests.judge.attacks import WRONG, Attack

FAKE = "class check:\n    same = staticmethod(lambda *a, **k: 1)\ncheck.__file__ = None\n"
FINDER = """
import importlib.util, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith('autograder.checks'):
            return importlib.util.spec_from_loader(name, self)
    def create_module(self, spec): return None
    def exec_module(self, module): module.same = lambda *a, **k: 1
sys.meta_path.insert(0, Finder())
for name in [n for n in sys.modules if n.startswith('autograder.checks')]:
    del sys.modules[name]
import autograder.checks
ag.check = autograder.checks
"""
WHEN_CALLED = """
def answer(x):
    ag.check.same = lambda *a, **k: 1
    return 0.0
"""
MENDS = """
import autograder.checks.results as results
honest = results._first_difference
def answer(x):
    def lie(*a):
        results._first_difference = honest
    results._first_difference = lie
    return 0.0
"""
ATTACKS = {
    "redefines the given function": Attack(WRONG + "def total(x):\n    return 0.0\n", "wrong results"),
    "redefines the package's name": Attack(
        WRONG + "class ag:\n    class check:\n        same = staticmethod(lambda *a, **k: 1)\n", "wrong results"
    ),
    "redefines it in another cell": Attack(WRONG, "wrong results", before=("def total(x):\n    return 0.0\n",)),
    "replaces the check": Attack(
        WRONG + "ag.check.same = lambda *a, **k: 1\n", "`autograder.checks.same` was replaced"
    ),
    "replaces the check when called": Attack(WHEN_CALLED, "`autograder.checks.same` was replaced"),
    "replaces a part of the check, which mends itself": Attack(MENDS, "_first_difference` was replaced"),
    "replaces a function of torch": Attack(
        WRONG + "torch.isclose = lambda *a, **k: torch.ones((), dtype=torch.bool)\n", "`torch.isclose` was replaced"
    ),
    "replaces a method of tensors": Attack(WRONG + "torch.Tensor.sum = lambda *a: 0.0\n", "`torch.Tensor.sum`"),
    "replaces a given method": Attack(WRONG + "Scale.forward = lambda self, x: 0 * x\n", "`Scale.forward`"),
    "rewrites a function's code": Attack(
        WRONG + "ag.check.same.__code__ = (lambda *a, **k: 1).__code__\n", "same` was replaced"
    ),
    "replaces a builtin": Attack(WRONG + "import builtins\nbuiltins.float = lambda x: 0.0\n", "`builtins.float`"),
    "replaces __import__": Attack(
        WRONG
        + "import builtins\nhonest = builtins.__import__\nbuiltins.__import__ = lambda *a, **k: honest(*a, **k)\n",
        "`builtins.__import__`",
    ),
    "replaces a function of numpy": Attack(
        WRONG + "import numpy\nnumpy.allclose = lambda *a: True\n", "numpy.allclose"
    ),
    "replaces the clock": Attack(WRONG + "import time\ntime.monotonic = lambda: 0.0\n", "`time.monotonic`"),
    "replaces json.dumps": Attack(
        WRONG + 'import json\njson.dumps = lambda *a, **k: \'["verdict", "0", "check-answer", "2.0", ""]\'\n',
        "wrong results",
    ),
    "replaces os.write": Attack(
        WRONG
        + "import os\nhonest = os.write\nos.write = lambda fd, data: honest(fd, data.replace(b'\"0.0\"', b'\"2.0\"'))\n",
        "wrong results",
    ),
    "replaces sys.audit": Attack(WRONG + "import sys\nsys.audit = lambda *a: None\n", "`sys.audit` was replaced"),
    "replaces the judge": Attack(
        WRONG + "import autograder.judge.session as s\ns.explain = lambda *a: ''\n", "session.explain` was replaced"
    ),
    "replaces a module": Attack(
        WRONG + f"import sys, types\nfake = types.ModuleType('autograder.checks')\nexec({FAKE!r}, vars(fake))\n"
        "fake.same = lambda *a, **k: 1\nsys.modules['autograder.checks'] = ag.check = fake\n",
        "were replaced",
    ),
    "finds its own package on import": Attack(WRONG + FINDER, "were replaced"),
    "a package beside the notebook": Attack(WRONG, "wrong results", files={"autograder.py": FAKE}),
    "start-up files beside the notebook": Attack(
        WRONG,
        "wrong results",
        files={name: "import autograder.checks as c\nc.same = print\n" for name in ("sitecustomize.py", "conftest.py")}
        | {"a.pth": "import autograder.checks as c; c.same = print\n"},
    ),
    "the environment": Attack(
        WRONG + "import os\nos.environ.update(AUTOGRADER_DEVICE='meta', PYTHONPATH='.', PYTHONSTARTUP='x.py')\n",
        "wrong results",
    ),
    "an input transformer that blanks cells": Attack(
        WRONG + "get_ipython().input_transformers_cleanup.append(\n"
        "    lambda lines: ['2\\n'] if any('verdict' in line for line in lines) else lines)\n",
        "wrong results",
    ),
    "replaces run_cell": Attack(
        WRONG + "shell = get_ipython()\nhonest = shell.run_cell_async\n"
        "async def run(source, **options):\n    if 'verdict' in source:\n"
        "        source = options['transformed_cell'] = '2'\n"
        "    return await honest(source, **options)\nshell.run_cell_async = run\n",
        "wrong results",
    ),
}
