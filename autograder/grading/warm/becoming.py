"""What a forked child does before it is a kernel, or before it calls the function it was made for."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import random
import resource
import signal
import sys
import traceback
import types

from autograder.grading.warm.linux import drop_privileges, own_proc_entries

_ABOVE_ALL = 512
"""Descriptors are moved up here while they change numbers, so that none overwrites another."""
_INLINE = "matplotlib_inline.backend_inline"


def become(request: dict, descriptors: list[int]) -> None:
    """Become what is asked for; never returns.

    The request: ``numbers`` (which descriptor gets which number), ``environment``, ``nice``, ``folder``, ``rlimits``,
    ``confined``, ``kind`` and what the kind needs.
    """
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_IGN)
        _hold(dict(zip(request["numbers"], descriptors, strict=True)))
        _settle(request)
        _unshare_state()
        code = {"kernel": _kernel, "call": _call}[request["kind"]](request)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does at the top
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
        os._exit(code & 0xFF)


def _hold(wanted: dict[int, int]) -> None:
    """Give descriptors their numbers and close all others; the standard streams lead nowhere unless they are given."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    wanted = {**dict.fromkeys((0, 1, 2), nowhere), **wanted}
    high = {number: fcntl.fcntl(source, fcntl.F_DUPFD, _ABOVE_ALL) for number, source in wanted.items()}
    os.closerange(3, _ABOVE_ALL)
    for number, source in high.items():
        os.dup2(source, number, inheritable=True)
    os.closerange(_ABOVE_ALL, _ABOVE_ALL + len(high))
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _settle(request: dict) -> None:
    """Take on the environment, the folder, the limits, and lose the privileges."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.nice(request["nice"])
    for name, limits in request["rlimits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limits))
    if request["confined"]:
        drop_privileges()
        own_proc_entries()


def _unshare_state() -> None:
    """Make anew what a fork shares with all other forks and a fresh interpreter would not."""
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.seed()
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count()))
    sys.modules["__main__"] = types.ModuleType("__main__")


def _kernel(request: dict) -> int:
    """Be an IPython kernel. ``argv``: what would follow ``python -m ipykernel_launcher``."""
    home = sys.path.pop(0)
    sys.path.append(home)
    sys.argv = [importlib.util.find_spec("ipykernel_launcher").origin, *request["argv"]]
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance(parent_handle=0)
    app.initialize(request["argv"])
    if "matplotlib.pyplot" in sys.modules:
        _connect_plots()
    app.start()
    return 0


def _connect_plots() -> None:
    """Do for an imported pyplot what its import in a kernel would have done."""
    backend = os.environ.get("MPLBACKEND", f"module://{_INLINE}")
    sys.modules["matplotlib.pyplot"].switch_backend(backend)
    if _INLINE in backend:
        importlib.import_module(_INLINE)._enable_matplotlib_integration()


def _call(request: dict) -> int:
    """Call ``function`` ("module:name") without arguments; what it returns is not used."""
    backend = os.environ.get("MPLBACKEND")
    if backend and "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].switch_backend(backend)
    module, _, name = request["function"].partition(":")
    getattr(importlib.import_module(module), name)()
    return 0
