"""A single-threaded process that imports what student code needs and forks a child on each request.

Started by ``client.py`` with one end of a ``SOCK_SEQPACKET`` pair. Each request is one packet of JSON, with
descriptors: the status pipe of the child, then the sandbox's pidfd if there is one, then what the child shall hold.
It ends at the end of file: when whoever asks is gone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from autograder.grading.warm.keeper import keep, tell

MOST_BYTES = 1 << 20
MOST_DESCRIPTORS = 16


def main() -> None:
    """Serve ``{"modules": [...]}`` (the second argument) on the socket whose number is the first."""
    server = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for whoever grades
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps keepers; they report themselves
    begun = time.perf_counter()
    try:
        for name in json.loads(sys.argv[2])["modules"]:
            with contextlib.suppress(ModuleNotFoundError):  # then no child has it
                importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - whoever asked must hear of it
        server.send(json.dumps({"broken": f"{type(error).__name__}: {error}"}).encode())
        return
    gc.collect()
    gc.freeze()  # so that a child's garbage collection does not copy what all share
    server.send(json.dumps({"seconds": time.perf_counter() - begun}).encode())
    while _serve(server):
        pass


def _serve(server: socket.socket) -> bool:
    """Answer one request; return False at the end of file."""
    packet, descriptors, _, _ = socket.recv_fds(server, MOST_BYTES, MOST_DESCRIPTORS)
    if not packet:
        return False
    request, status = json.loads(packet), descriptors[0]
    why = unsafe()
    if why:
        tell(status, refused=why)
    elif os.fork() == 0:
        keep(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return True


def unsafe() -> str:
    """Return why a fork of this process might hang or compute nonsense, or "" if none is known."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"it has {threads} threads, and a fork copies only one of them and the locks of all"
    if "libcuda.so" in Path("/proc/self/maps").read_text():
        return "it has loaded CUDA's driver, which does not work in a fork"
    return ""
