"""What the audit hook looks out for, and which code may do such things in a learner's process all the same.

A library may look at frames for its own ends (``namedtuple`` does, and ``logging``). It is known by this: the frame
that the event comes from is library code that names the call itself. Libraries whose purpose is to hand such things
out are looked through: whoever called them must be a library too.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import NamedTuple

FRAMES, COLLECTOR = "looked at the grader's frames", "walked the garbage collector's objects"
MEMORY, PROCESS, NETWORK = "reached for memory by address", "started or replaced a process", "used the network"
SIGNAL, TRACING, CODE = "sent or caught a signal", "traced the grader", "made code by hand"
POSING, CALLED_BACK = "made code that poses as the grader's", "had code run in the grader's own frame"


class Sight(NamedTuple):
    """``names``: what code must mention for the event to be its own doing. ``did``: what the learner is told.

    ``everyday``: any library may do it, whatever it mentions.
    """

    names: frozenset[str]
    did: str
    everyday: bool = False


def _sights(did: str, *events: str) -> dict[str, Sight]:
    return {event: Sight(frozenset({event.rpartition(".")[2]}), f"{did} ({event})") for event in events}


def _everyday(did: str, mentioned: str, *events: str) -> dict[str, Sight]:
    names = frozenset(mentioned.split())
    return {event: Sight(names, f"{did} ({event})", everyday=True) for event in events}


SIGHTS = {
    **_sights(FRAMES, "sys._getframe", "sys._current_frames", "sys._current_exceptions"),
    **_sights(COLLECTOR, "gc.get_objects", "gc.get_referrers", "gc.get_referents"),
    **_sights(TRACING, "sys.settrace", "sys.setprofile", "sys.addaudithook", "sys.monitoring.register_callback"),
    **_sights(CODE, "marshal.loads"),
    **_everyday(PROCESS, "fork forkpty", "os.fork", "os.forkpty"),
    **_everyday(PROCESS, "subprocess", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"),
    **_everyday(NETWORK, "socket", "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    **_everyday(NETWORK, "socket", "socket.getaddrinfo", "socket.gethostbyname"),
    **_everyday(SIGNAL, "kill killpg pthread_kill", "os.kill", "os.killpg", "signal.pthread_kill"),
    **_everyday(MEMORY, "ctypes", "ctypes.addressof", "ctypes.call_function", "ctypes.cdata", "ctypes.cdata/buffer"),
    **_everyday(MEMORY, "ctypes", "ctypes.dlopen", "ctypes.dlsym", "ctypes.dlsym/handle", "ctypes.PyObj_FromPtr"),
    **_everyday(MEMORY, "ctypes mmap", "ctypes.string_at", "ctypes.wstring_at", "mmap.__new__"),
    "code.__new__": Sight(frozenset({"replace", "CodeType"}), f"{CODE} (code.__new__)"),
}
FRAME_ATTRIBUTES = {
    name: Sight(frozenset({name}), f"{FRAMES} ({name})") for name in ("tb_frame", "gi_frame", "cr_frame", "ag_frame")
}
REWRITES = frozenset({"__code__", "__defaults__", "__kwdefaults__"})
RUNNING = Sight(frozenset({"exec", "eval", "compile"}), f"{CALLED_BACK} (exec)")
MACHINE_CODE = frozenset({"_cffi_backend", "_ctypes", "_ctypes_test", "_testcapi", "_testinternalcapi", "llvmlite"})
"""Modules that reach for any address without an event."""

READABLE = r"/proc/(self/|thread-self/|[0-9]+/)?(cgroup|cmdline|comm|cpuinfo|limits|loadavg|meminfo|mountinfo|mounts"
READABLE += r"|stat|statm|status|uptime|version|vmstat|filesystems|sys/.*)"
"""What an answer may open below /proc."""

IMPORTER, LOADER = "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"
"""Files of the import system: where modules' code is run, and where it is read."""

_ALL = frozenset({"*"})
DEALERS = {
    "inspect.py": _ALL,
    "traceback.py": frozenset(
        {"walk_stack", "walk_tb", "extract", "extended_frame_gen", "_extract_from_extended_frame_gen"}
    ),
    "logging/__init__.py": frozenset({"<lambda>", "currentframe"}),
    **dict.fromkeys(("bdb.py", "cgitb.py", "pdb.py", "code.py", "IPython", "debugpy", "executing", "stack_data"), _ALL),
    **dict.fromkeys(("numpy/distutils", "jsonpath_ng", "hypothesis", "jedi", "pydevd"), _ALL),
    **dict.fromkeys(("os.py", "subprocess.py", "multiprocessing", "pty.py", "threading.py"), _ALL),
    **dict.fromkeys(("signal.py", "socket.py", "ssl.py", "http", "urllib", "socketserver.py", "xmlrpc"), _ALL),
    **dict.fromkeys(("ctypes", "cProfile.py", "profile.py", "trace.py"), _ALL),
    "<frozen os>": _ALL,
    LOADER: frozenset({"source_to_code"}),
    IMPORTER: frozenset({"_call_with_frames_removed"}),
}
"""Functions, by file or folder of a library, that do such things for whoever calls them."""

_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")
LIBRARIES = tuple({os.path.join(sysconfig.get_paths()[name], "") for name in _PATHS} | {"<frozen "})
OURS = os.path.join(Path(__file__).resolve().parents[1], "")
