"""Acting while the check runs, or after it."""

from tests.judge.attacks import WRONG, Attack

LIE = "ag.check.same = lambda *a, **k: 1"
THREAD = f"""
import threading, time
stop = threading.Event()
def work():
    while not stop.wait(0.001):
        {LIE}
threading.Thread(target=work, daemon=True).start()
def answer(x):
    return 0.0
"""
THREAD_WHEN_CALLED = """
import threading
def answer(x):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return 0.0
"""
DYING = f"""
class Dying:
    def __del__(self):
        {LIE}
def answer(x):
    Dying()
    return 0.0
"""
WEAK = f"""
import weakref
def lie(reference):
    {LIE}
kept = []
def answer(x):
    kept.append(weakref.ref(Scale(), lie))
    return 0.0
"""
COLLECTING = f"""
import gc
def lie(phase, info):
    {LIE}
def answer(x):
    gc.callbacks.append(lie)
    gc.collect()
    return 0.0
"""
ALARM = f"""
import signal
def lie(number, frame):
    {LIE}
signal.signal(signal.SIGALRM, lie)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
def answer(x):
    return 0.0
"""
MODE = """
from torch.overrides import TorchFunctionMode
class Mode(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return torch.ones_like(found) if function is torch.isclose else found
def answer(x):
    Mode().__enter__()
    return 0.0
"""
ATTACKS = {
    "atexit": Attack(WRONG + f"import atexit\natexit.register(lambda: exec({LIE!r}))\n", "wrong results"),
    "a thread that goes on replacing": Attack(THREAD, "tampered"),
    "a thread that outlives the call": Attack(THREAD_WHEN_CALLED, "wrong results"),
    "a destructor": Attack(DYING, "tampered: `autograder.checks.same` was replaced"),
    "a weak reference's callback": Attack(WEAK, "tampered: `autograder.checks.same` was replaced"),
    "a callback of the collector": Attack(COLLECTING, "tampered"),
    "an alarm": Attack(ALARM, "sent or caught a signal (signal.signal)"),
    "an alarm without a handler": Attack(
        WRONG + "import signal\nsignal.alarm(1)\n", "sent or caught a signal (signal.alarm)"
    ),
    "a torch mode left on": Attack(MODE, "wrong results"),
    "sys.unraisablehook": Attack(
        "import sys\nclass Dying:\n    def __del__(self): 1 / 0\ndef lie(what):\n    walk = what.exc_traceback.tb_frame\n"
        "sys.unraisablehook = lie\ndef answer(x):\n    Dying()\n    return 0.0\n",
        "tampered",
    ),
}
