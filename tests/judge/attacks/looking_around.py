"""Looking for the expected value, the check's source or the grader's secrets in frames, objects and memory."""

from tests.judge.attacks import WRONG, Attack, looking

FRAMES, COLLECTOR, MEMORY = "looked at the grader's frames", "garbage collector's objects", "reached for memory"
IN_A_GENERATOR = """
def walker():
    yield generator.gi_frame.f_back
generator = walker()
def answer(x):
    return next(generator).f_back.f_locals['expected']
"""
IN_A_COROUTINE = """
class Once:
    def __await__(self):
        yield coroutine.cr_frame.f_back
async def walker():
    await Once()
coroutine = walker()
def answer(x):
    return coroutine.send(None).f_back.f_locals['expected']
"""
FROM_A_THREAD = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
main = threading.main_thread().ident
def answer(x):
    with ThreadPoolExecutor(1) as pool:
        frame = pool.submit(sys._current_frames).result()[main]
    while 'expected' not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals['expected']
"""
WALKING = """
def walk(frame):
    while frame is not None and 'expected' not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals['expected']
"""
CAUGHT = """
def answer(x):
    try:
        1 / 0
    except ZeroDivisionError as error:
        return walk({frame})
"""
HANDLER = """
import signal
found = []
def answer(x):
    signal.signal(signal.SIGUSR1, lambda number, frame: found.append(walk(frame)))
    signal.raise_signal(signal.SIGUSR1)
    return found[-1]
"""
EVALUATED = """
import functools
class Lie(float):
    pass
class Spy:
    __float__ = __index__ = __len__ = __bool__ = __del__ = functools.partial(exec, "loot.append(dict(globals()))")
import builtins
builtins.loot = []
def answer(x):
    Spy()
    return Spy()
"""
DYING = """
import builtins, functools
builtins.loot = []
class Spy:
    __del__ = functools.partial(exec, "import builtins; builtins.loot.append((globals(), locals()))")
def answer(x):
    spy = Spy()
    spy.me = [spy]
    return spy
"""
TRACED = """
import sys
found = []
def trace(frame, event, arg):
    if 'expected' in frame.f_locals:
        found.append(frame.f_locals['expected'])
    return trace
def answer(x):
    {switch}(trace)
    return found[-1] if found else 0.0
"""
DYNAMO = """
from torch._dynamo.eval_frame import set_eval_frame
found = []
def answer(x):
    set_eval_frame(lambda frame, *a: found.append(frame))
    return 0.0
"""
ANEW = """
import sys, importlib
del sys.modules['_signal']
import _signal
def answer(x):
    _signal.signal(_signal.SIGUSR1, lambda number, frame: None)
    return 0.0
"""
COMPILED = """
import importlib.util, inspect, marshal
code = compile("import sys\\ndef look(): return sys._getframe(1)\\n", "elsewhere.py", "exec")
data = marshal.dumps(code).replace(b"elsewhere.py", b"else/here.py")
name = inspect.__file__.encode()
def forged(code):
    return marshal.dumps(code)
old = marshal.dumps("elsewhere.py")
new = b"z" + bytes([len(name)]) + name
body = marshal.dumps(code)
for kind in (b"z", b"Z", b"\\xda", b"\\xfa"):
    body = body.replace(kind + bytes([12]) + b"elsewhere.py", kind[:1] + bytes([len(name)]) + name)
with open("evil.pyc", "wb") as file:
    file.write(importlib.util.MAGIC_NUMBER + bytes(12) + body)
import sys
sys.path.insert(0, "."); importlib.invalidate_caches()
import evil
def answer(x):
    return evil.look().f_locals["expected"]
"""
COLLECTED = """
import gc
def answer(x):
    for thing in {call}:
        if type(thing) is dict and 'expected' in thing:
            return thing['expected']
    return 0.0
"""
BY_ADDRESS = """
import {module}
def answer(x):
    {body}
    return 0.0
"""
ATTACKS = {
    "sys._getframe": Attack(
        looking("sys._getframe(1).f_locals['expected']", "import sys"), f"{FRAMES} (sys._getframe)"
    ),
    "sys._getframe, spelt otherwise": Attack(
        looking("getattr(sys, '_get' + 'frame')(1).f_locals['expected']", "import sys"), "(sys._getframe), line 3"
    ),
    "sys._getframe through map": Attack(
        looking("next(map(sys._getframe, [0])).f_back.f_locals['expected']", "import sys"), "(sys._getframe)"
    ),
    "sys._getframe through ExitStack": Attack(
        "import contextlib, sys\ndef answer(x):\n    with contextlib.ExitStack() as stack:\n"
        "        stack.callback(sys._getframe, 2)\n    return 0.0\n",
        "(sys._getframe)",
    ),
    "inspect.currentframe": Attack(
        looking("inspect.currentframe().f_back.f_locals['expected']", "import inspect"), FRAMES
    ),
    "inspect.stack": Attack(looking("inspect.stack()[1].frame.f_locals['expected']", "import inspect"), FRAMES),
    "logging.currentframe": Attack(looking("walk(logging.currentframe())", "import logging", WALKING), FRAMES),
    "traceback.walk_stack": Attack(
        looking("walk(next(traceback.walk_stack(None))[0])", "import traceback", WALKING), FRAMES
    ),
    "the stack with its locals, as text": Attack(
        looking(
            "float([f.locals['expected'] for f in traceback.StackSummary.extract(traceback.walk_stack(None), "
            "capture_locals=True) if f.locals and 'expected' in f.locals][0])",
            "import traceback",
        ),
        FRAMES,
    ),
    "IPython's frame tools": Attack(
        looking("extract_module_locals(1)[1]['expected']", "from IPython.utils.frame import extract_module_locals"),
        FRAMES,
    ),
    "a traceback's frame": Attack(
        WALKING + CAUGHT.format(frame="error.__traceback__.tb_frame"), f"{FRAMES} (tb_frame)"
    ),
    "a traceback's frame, spelt otherwise": Attack(
        WALKING
        + "import operator\n"
        + CAUGHT.format(frame="operator.attrgetter('tb_' + 'frame')(error.__traceback__)"),
        "(tb_frame)",
    ),
    "a generator's frame": Attack(IN_A_GENERATOR, f"{FRAMES} (gi_frame)"),
    "a coroutine's frame": Attack(IN_A_COROUTINE, f"{FRAMES} (cr_frame)"),
    "frames of all threads": Attack(FROM_A_THREAD, "(sys._current_frames)"),
    "a signal handler's frame": Attack(WALKING + HANDLER, "sent or caught a signal (signal.signal)"),
    "the module of signals, imported anew": Attack(ANEW, "imported a module of Python's core anew"),
    "a trace function's frame": Attack(TRACED.format(switch="sys.settrace"), "traced the grader (sys.settrace)"),
    "a profiler's frame": Attack(TRACED.format(switch="sys.setprofile"), "traced the grader (sys.setprofile)"),
    "an audit hook of its own": Attack(looking("sys.addaudithook(print) or 0.0", "import sys"), "(sys.addaudithook)"),
    "torch's frame evaluation": Attack(DYNAMO, "set_eval_frame"),
    "code that the check's own frame evaluates": Attack(DYING, "had code run in the grader's own frame (exec)"),
    "conversions that evaluate code": Attack(EVALUATED, "tampered"),
    "gc.get_objects": Attack(COLLECTED.format(call="gc.get_objects()"), f"{COLLECTOR} (gc.get_objects)"),
    "gc.get_referrers": Attack(COLLECTED.format(call="gc.get_referrers(x)"), f"{COLLECTOR} (gc.get_referrers)"),
    "gc.get_referents": Attack(COLLECTED.format(call="gc.get_referents(Scale.forward)"), "(gc.get_referents)"),
    "ctypes: an object by its address": Attack(
        looking("ctypes.cast(id(x), ctypes.py_object).value and 0.0", "import ctypes"), f"{MEMORY} by address (ctypes."
    ),
    "ctypes: writes to memory": Attack(
        looking("ctypes.memmove(id(x) + 8, id(0.0) + 8, 0) and 0.0", "import ctypes"), f"{MEMORY} by address (ctypes."
    ),
    "ctypes: Python's own functions": Attack(
        looking("ctypes.pythonapi.PyEval_GetLocals and 0.0", "import ctypes"), f"{MEMORY} by address (ctypes."
    ),
    "/proc/self/mem": Attack(looking("open('/proc/self/mem', 'rb').read(1)"), "opened the grader's process"),
    "/proc/self/environ through a link": Attack(
        "import os\nif not os.path.islink('link'): os.symlink('/proc/self/environ', 'link')\n"
        + WRONG
        + "open('link').read()\n",
        "opened the grader's process",
    ),
    "code made by hand": Attack(
        WRONG + "answer.__code__ = answer.__code__.replace(co_filename='<check-answer>')\n", "made code by hand"
    ),
    "code that poses as the grader's": Attack(
        WRONG + "exec(compile('import sys\\nsys._getframe()', '<check-answer>', 'exec'))\n", "poses as the grader's"
    ),
    "code that poses as a library's": Attack(
        WRONG + "import inspect\nexec(compile('import sys\\nsys._getframe()', inspect.__file__, 'exec'))\n",
        "poses as the grader's",
    ),
    "a compiled file that poses as a library's": Attack(COMPILED, "poses as the grader's (exec)"),
    "a function made of a library's code": Attack(
        "import logging, sys, types\n"
        + looking(
            "types.FunctionType(logging.Logger.findCaller.__code__, {'sys': sys})",
        ),
        "poses as the grader's (exec)",
    ),
    "numpy: memory beyond an array": Attack(
        looking(
            "as_strided(numpy.zeros(1), (10**9,))[7]", "import numpy", "from numpy.lib.stride_tricks import as_strided"
        ),
        f"{MEMORY} by address (numpy.lib.stride_tricks.as_strided)",
    ),
    "linecache and __main__": Attack(
        looking(
            "float((str(vars(__main__)) + str(linecache.cache)).split('verdict' + '(9, seed=')[1][0])",
            "import linecache, __main__",
        ),
        "IndexError",
    ),
    "the check through a given class": Attack(
        looking("Scale.forward.__globals__['verdict'].__code__.co_consts"), "KeyError: 'verdict'"
    ),
    "the check through the notebook": Attack(
        looking("[c for c in get_ipython().user_ns['In'] if 'verdict' in c][0]"), "NameError"
    ),
    "the exception that a check raised": Attack(
        "kept = ValueError('mine')\ndef answer(x):\n    raise kept\n",
        "ValueError: mine",
    ),
}
