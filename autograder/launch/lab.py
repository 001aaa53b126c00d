"""Start JupyterLab on the learner's copies, and say where it is.

The learner sees one address, with its token; JupyterLab's own log is kept to errors.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from autograder.errors import LaunchError
from autograder.launch.course import START_LESSON
from autograder.launch.workspace import FOLDER

FIRST_PORT = 8888
PORTS_TRIED = 50
READY_WITHIN = 90.0
LAB_CONFIG = Path(__file__).with_name("lab_config")


def start(root: Path, args: list[str]) -> int:
    """Run JupyterLab on ``my_work/`` until it is stopped; return its exit status.

    Parameters
    ----------
    root : Path
        The course's folder.
    args : list of str
        Options for JupyterLab, passed on as they are.

    Raises
    ------
    LaunchError
        The port asked for is in use, no port is free, or JupyterLab stopped before it answered.
    """
    port = choose_port(args)
    token = option(args, "--IdentityProvider.token", "--ServerApp.token", "--token")
    environment = lab_environment()
    if token is None:
        token = environment.setdefault("JUPYTER_TOKEN", secrets.token_hex(16))
    lab = subprocess.Popen(command(root, args, port), env=environment)
    previous = signal.signal(signal.SIGTERM, lambda *_: lab.terminate())
    try:
        wait_until_ready(lab, port, token)
        announce(port, token)
        return lab.wait()
    except KeyboardInterrupt:
        lab.terminate()
        lab.wait()
        print(f"Stopped. Your work is in {FOLDER}/.")
        return 0
    finally:
        signal.signal(signal.SIGTERM, previous)
        if lab.poll() is None:
            lab.terminate()


def command(root: Path, args: list[str], port: int) -> list[str]:
    """Return the command line. An option the learner gave replaces ours: JupyterLab refuses one given twice."""
    ours = {
        ("--port", "--ServerApp.port"): str(port),
        ("--log-level", "--debug"): "ERROR",
        ("--ServerApp.port_retries",): "0",
        ("--notebook-dir", "--ServerApp.root_dir"): str(root / FOLDER),
        ("--LabApp.default_url", "--ServerApp.default_url"): f"/lab/tree/{START_LESSON}/{START_LESSON}.ipynb",
    }
    options = [f"{names[0]}={value}" for names, value in ours.items() if option(args, *names) is None]
    flags = ["-y"]
    if not has_screen():
        flags.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--allow-root")
    return [sys.executable, "-m", "jupyterlab", *flags, *options, *args]


def lab_environment() -> dict[str, str]:
    """Return this environment plus a configuration that keeps the teachers' extensions out of the learner's window."""
    paths = [str(LAB_CONFIG), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def has_screen() -> bool:
    """Could a browser open here?"""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def choose_port(args: list[str]) -> int:
    """Return the port asked for, or the first free one from 8888 on (saying so when it is another)."""
    asked = option(args, "--port", "--ServerApp.port")
    if asked is not None:
        if not asked.isdigit() or not 0 < int(asked) <= 65535:
            raise LaunchError(f"expected a port number from 1 to 65535, found --port {asked!r}")
        if not is_free(int(asked)):
            raise LaunchError(
                f"port {asked} is in use, perhaps by a JupyterLab you left open. Stop that one, "
                f'or choose another port: make learn LAB_ARGS="--port {min(int(asked) + 1, 65535)}"'
            )
        return int(asked)
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if is_free(port):
            if port != FIRST_PORT:
                print(f"Port {FIRST_PORT} is in use; taking {port}.")
            return port
    raise LaunchError(
        f"ports {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} are all in use. "
        'Choose another: make learn LAB_ARGS="--port 9500"'
    )


def option(args: list[str], *names: str) -> str | None:
    """Return the value of the last option of one of these names, written ``--name=value`` or ``--name value``."""
    value = None
    for place, arg in enumerate(args):
        name, equals, inline = arg.partition("=")
        if name in names:
            value = inline if equals else next(iter(args[place + 1 :]), "")
    return value


def is_free(port: int) -> bool:
    """Can a server listen on this port of this machine?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until_ready(lab: subprocess.Popen, port: int, token: str) -> None:
    """Return when our JupyterLab answers, or has had its time; raise ``LaunchError`` if it stops first.

    The token tells ours from a server that took the port in the same moment.
    """
    status = urllib.request.Request(f"http://127.0.0.1:{port}/api/status", headers={"Authorization": f"token {token}"})
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if lab.poll() is not None:
            raise LaunchError("JupyterLab stopped before it was ready; its own message is above")
        try:
            urllib.request.urlopen(status, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)


def announce(port: int, token: str) -> None:
    """Print where the course is, and where the learner's copies are."""
    address = f"http://localhost:{port}/lab/tree/{START_LESSON}/{START_LESSON}.ipynb"
    print(f"\n  Open   {address}{'?token=' + token if token else ''}")
    print(f"  Files  {FOLDER}/  (yours: never overwritten)")
    print("  Stop   Ctrl-C\n", flush=True)
