"""Asks a zygote for children: one per process and list of modules, made when first needed, replaced when it died."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import ClassVar

from autograder.errors import ForkRefused
from autograder.grading.confine import Confinement, Sandbox
from autograder.grading.confine.paths import PACKAGE
from autograder.grading.warm.child import Child

MODULES = (
    "numpy",
    "numpy.random",  # numpy loads it late, and each fork would do so anew
    "torch",
    "torch._dynamo",  # the first optimizer of a process imports it, which takes a second
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "IPython",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.extensions.storemagic",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",  # the slowest part of a kernel's start
    "sqlite3",
    "tornado.platform.asyncio",
    "encodings.idna",
    "PIL.PngImagePlugin",
    "autograder.grading.warm.ready",
)
"""What a kernel of this course and a judge import. Each must leave the process with one thread; missing ones are left out."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
"""Two processes with two threads each fight for two cores; and numpy's import must not start a thread."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "HOME", "MPLCONFIGDIR")
_START = (
    "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; "
    "from autograder.grading.warm.zygote import main; main()"
)
_PATIENCE_SECONDS = 60.0
_REAPED_SECONDS = 0.2
_YIELD = 10
"""Priority given up by a child whose limits are only watched, so that whoever watches gets to it."""


class Warm:
    """A zygote and the socket to it. ``Warm.shared()`` gives this process's own."""

    _shared: ClassVar[dict[tuple[str, ...], Warm]] = {}
    _lock = threading.Lock()

    def __init__(self, modules: Sequence[str] = MODULES) -> None:
        self._modules = tuple(modules)
        self._using = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self.seconds = 0.0

    @classmethod
    def shared(cls, modules: Sequence[str] = MODULES) -> Warm:
        """Return the one that all threads of this process share."""
        with cls._lock:
            return cls._shared.setdefault(tuple(modules), cls(modules))

    @classmethod
    def prepare(cls) -> None:
        """Let the shared one import in the background, so that the first fork finds it ready."""

        def start() -> None:
            with contextlib.suppress(ForkRefused):  # the first fork meets it again, and says so
                cls.shared().start()

        threading.Thread(target=start, name="warming", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The zygote's number, or None if none runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Import now rather than at the first fork; replace a zygote that died. Raises ForkRefused."""
        with self._using:
            self._ensure()

    def fork(
        self,
        kind: str,
        request: Mapping,
        fds: Mapping[int, int] | None = None,
        sandbox: Sandbox | None = None,
        seconds: float = _PATIENCE_SECONDS,
    ) -> Child:
        """Have a child forked.

        Parameters
        ----------
        kind : str
            ``"kernel"``: an IPython kernel, with ``argv`` in the request. ``"call"``: ``function`` ("module:name").
        request : mapping
            Also ``environment`` (all of it), ``folder`` (working directory) and, if wanted, ``rlimits``.
        fds : mapping
            From the number a descriptor shall have in the child to the descriptor here. 0, 1 and 2 that are not
            given lead nowhere.
        sandbox : Sandbox, optional
            Where it shall live; its limits are then the child's.

        Raises
        ------
        ForkRefused
            If it is not safe to fork, or there is nobody to do it.
        """
        packet, descriptors = _packet(kind, request, fds or {}, sandbox)
        try:
            return self._fork(packet, descriptors, sandbox, seconds)
        except ForkRefused:
            if not self._died():
                raise
        return self._fork(packet, descriptors, sandbox, seconds)

    def _fork(self, packet: bytes, descriptors: list[int], sandbox: Sandbox | None, seconds: float) -> Child:
        status, end = os.pipe()
        try:
            with self._using:
                self._ensure()
                socket.send_fds(self._socket, [packet], [end, *descriptors])
        except OSError as error:
            os.close(status)
            raise ForkRefused(f"the process that should fork cannot be reached: {error}") from None
        except ForkRefused:
            os.close(status)
            raise
        finally:
            os.close(end)
        child = Child(status, sandbox, warm=bool(self._modules))
        try:
            child.wait_started(seconds)
        except ForkRefused:
            child.close()
            raise
        return child

    def _died(self) -> bool:
        """Whether a zygote that was there is gone, perhaps a moment ago: its end is seen before it is reaped."""
        process = self._process
        if process is None:
            return False
        try:
            process.wait(_REAPED_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _ensure(self) -> None:
        if self.pid is None:
            self._end()
            self._begin()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wanted = [str(PACKAGE.parent), str(theirs.fileno()), json.dumps({"modules": self._modules})]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, *wanted],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        self._socket = ours
        ours.settimeout(_PATIENCE_SECONDS)
        try:
            said = json.loads(ours.recv(65536) or b'{"broken": "it ended while it imported"}')
        except OSError as error:
            said = {"broken": str(error)}
        if "broken" in said:
            self._end()
            raise ForkRefused(f"the process that imports {', '.join(self._modules)} did not start: {said['broken']}")
        self.seconds = said["seconds"]

    def _end(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the zygote; its children live on until they are closed."""
        with self._using:
            self._end()


def _environment() -> dict[str, str]:
    """A few names of ours: what else is there, tokens for example, would be in every child's memory."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed,
        **ONE_THREAD,
        "MPLBACKEND": "agg",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # or asking whether there is a GPU would load CUDA
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _packet(kind: str, request: Mapping, fds: Mapping[int, int], sandbox: Sandbox | None) -> tuple[bytes, list[int]]:
    limits = sandbox.confinement.rlimits(confined=True) if sandbox else Confinement(mode="off").rlimits(confined=False)
    asked = {
        "rlimits": limits,
        **request,
        "kind": kind,
        "numbers": list(fds),
        "confined": sandbox is not None,
        "nice": _YIELD if sandbox and not sandbox.groups else 0,
        "groups": sandbox.groups if sandbox else [],
    }
    return json.dumps(asked).encode(), [*([sandbox.pidfd] if sandbox else []), *fds.values()]


def fork_cold(
    kind: str, request: Mapping, fds: Mapping[int, int] | None = None, sandbox: Sandbox | None = None
) -> Child:
    """Start a fresh interpreter for one child: the same to the child in all but the imports, and slower."""
    zygote = Warm(modules=())
    try:
        return zygote.fork(kind, request, fds, sandbox)
    finally:
        zygote.close()


def start_child(
    kind: str,
    request: Mapping,
    fds: Mapping[int, int] | None = None,
    sandbox: Sandbox | None = None,
    warm: Warm | None = None,
) -> tuple[Child, str]:
    """Fork from ``warm`` if it is given and can, else start cold; return the child and what must be said, or ""."""
    remark = ""
    if warm is not None:
        try:
            return warm.fork(kind, request, fds, sandbox), ""
        except ForkRefused as error:
            remark = f"no warm start: {error}. A fresh process was started instead, which takes longer."
    return fork_cold(kind, request, fds, sandbox), remark


def _forget() -> None:
    """In a fork of this process: the zygotes belong to the parent."""
    Warm._shared, Warm._lock = {}, threading.Lock()


@atexit.register
def _close_all() -> None:
    for warm in list(Warm._shared.values()):
        warm.close()


os.register_at_fork(after_in_child=_forget)
