"""Returning objects that lie about what they are, or act when they are looked at."""

from tests.judge.attacks import WRONG, Attack

ALWAYS = "    __eq__ = __ge__ = __le__ = lambda self, other: True\n    __hash__ = float.__hash__\n"
TENSOR = """
class Lie(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.ones((), dtype=torch.bool)
def answer(x):
    return torch.zeros(()).as_subclass(Lie)
"""
ACTS = """
class Acts(float):
    def __float__(self):
        ag.check.same = lambda *a, **k: 1
        return 0.0
    __index__ = __repr__ = __format__ = __eq__ = __sub__ = __rsub__ = lambda self, *a: float(self)
def answer(x):
    return Acts()
"""
META = """
class Meta(type):
    def __instancecheck__(cls, thing): return True
    def __subclasscheck__(cls, other): return True
    def __eq__(cls, other): return True
    __hash__ = type.__hash__
class Lie(float, metaclass=Meta): pass
def answer(x):
    return Lie(0.0)
"""
LIES_ABOUT_ITS_CLASS = """
class Lie:
    __class__ = float
    def __float__(self): return 0.0
    def __eq__(self, other): return True
def answer(x):
    return Lie()
"""
ASKS_THE_FRAME = """
import operator
class Lie(float):
    pass
class Spy:
    __float__ = lambda self: next(map(operator.itemgetter('expected'), iter(locals, None)))
def answer(x):
    return Spy()
"""
IN_C = """
import functools, operator
def answer(x):
    spy = type('Spy', (), {})
    step = map(float, map(operator.itemgetter('expected'), iter(locals, None)))
    for name in ('__float__', '__index__', '__len__', '__bool__', '__iter__', '__repr__', '__array__'):
        setattr(spy, name, functools.partial(next, step))
    return spy()
"""
RAISES = """
class Loud({base}):
    def __str__(self):
        ag.check.same = lambda *a, **k: 1
        raise {inner}
    __repr__ = __format__ = __str__
def answer(x):
    raise Loud('rule')
"""
TEXT = """
class Text(str):
    __bool__ = __len__ = __format__ = __str__ = lambda self, *a: 1 / 0
class Loud(Exception):
    def __str__(self): return Text('loud')
    @property
    def __traceback__(self): raise SystemExit
def answer(x):
    raise Loud()
"""
ATTACKS = {
    "a number that equals everything": Attack(
        f"class Lie(float):\n{ALWAYS}def answer(x):\n    return Lie(0.0)\n", "wrong"
    ),
    "a tensor that answers for torch": Attack(TENSOR, "wrong results"),
    "a number that acts when converted": Attack(ACTS, "wrong results"),
    "a class that is every class": Attack(META, "wrong results"),
    "an object that lies about its class": Attack(LIES_ABOUT_ITS_CLASS, "wrong results"),
    "an object that asks the check's frame": Attack(ASKS_THE_FRAME, "wrong results"),
    "the same without a frame of its own": Attack(IN_C, "KeyError"),
    "an exception that acts when printed": Attack(
        RAISES.format(base="Exception", inner="SystemExit"), "cannot be shown"
    ),
    "an exception that poses as the check's": Attack(
        "from autograder.errors import CheckFailed\n" + RAISES.format(base="CheckFailed", inner="KeyboardInterrupt"),
        "cannot be shown",
    ),
    "an exception whose text acts": Attack(TEXT, "loud"),
    "SystemExit": Attack("def answer(x):\n    raise SystemExit(0)\n", "SystemExit"),
    "KeyboardInterrupt": Attack("def answer(x):\n    raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "GeneratorExit": Attack("def answer(x):\n    raise GeneratorExit\n", "GeneratorExit"),
    "endless recursion": Attack("def answer(x):\n    return answer(x)\n", "RecursionError"),
    "recursion before looking": Attack(
        "import sys\ndef deep(n):\n    try:\n        return deep(n + 1)\n    except RecursionError:\n"
        "        return sys._getframe(0)\ndef answer(x):\n    frame = deep(0)\n"
        "    while 'expected' not in frame.f_locals: frame = frame.f_back\n    return frame.f_locals['expected']\n",
        "sys._getframe",
    ),
    "ends the process when called": Attack("import os\ndef answer(x):\n    os._exit(0)\n", "ended the grading process"),
    "forks when called": Attack(
        "import os\ndef answer(x):\n    if os.fork() == 0:\n        return 0.0\n    return 0.0\n", "(os.fork)"
    ),
    "starts a process": Attack(WRONG + "import subprocess\nsubprocess.run(['true'])\n", "(subprocess.Popen)"),
    "a shell": Attack(WRONG + "import os\nos.system('true')\n", "(os.system)"),
    "exec": Attack(WRONG + "import os\nos.execv('/bin/true', ['true'])\n", "(os.exec)"),
    "kills its parent": Attack(WRONG + "import os\nos.kill(os.getppid(), 0)\n", "(os.kill)"),
    "connects to the outside": Attack(
        WRONG + "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)\n", "used the network"
    ),
}
