"""Items for ``test_on_gpu.py`` that do what goes wrong on a lent machine."""

import os
import signal
import subprocess
import sys
import time

NAMES = ("good", "two", "raises", "hangs", "crashes", "exits", "last")


def items(device):
    return NAMES


def environment(item):
    return {"ODD_SETTING": "set"} if item == "two" else {}


def run(item, device):
    yield item, os.environ.get("ODD_SETTING", "")
    if item == "two":
        yield "two/again", 2
    elif item == "raises":
        raise ValueError("an item's own error")
    elif item == "hangs":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        time.sleep(600)
    elif item == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif item == "exits":
        print("said at last", flush=True)
        os._exit(7)
