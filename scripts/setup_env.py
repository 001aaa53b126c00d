"""Make .venv hold exactly what requirements.txt says; do nothing, quickly, when it already does.

Run by `make` before every other command, with whatever `python3` the machine has: so this file needs
only the standard library, and its syntax is old enough for an old Python to reach the version message.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.environ.get("AUTOGRADER_VENV", os.path.join(ROOT, ".venv"))
STAMP = os.path.join(VENV, "course-stamp")
OLDEST, NEWEST = (3, 11), (3, 13)
UNREACHABLE = re.compile(
    r"connection broken by|NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError"
    r"|Failed to establish|Temporary failure in name resolution|Network is unreachable|Connection (refused|reset|aborted)"
)


class SetupFailed(Exception):
    """The environment cannot be made; the text says what to do."""


def main():
    try:
        check_python()
        if is_ready():
            return 0
        create()
        install()
        write_stamp()
    except SetupFailed as problem:
        sys.stderr.write(f"\n{problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Run the same command again: what was downloaded is kept.\n")
        return 130
    say("Environment ready.")
    return 0


def check_python():
    """Raise unless this Python is one the pinned packages have wheels for."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    raise SetupFailed(
        f"This course needs Python {dotted(OLDEST)} to {dotted(NEWEST)}; "
        f"`{sys.executable}` is Python {dotted(sys.version_info)}.\n{advice()}"
    )


def advice():
    """Name a suitable Python that is on this machine, or say where one comes from."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = f"python3.{minor}"
        if shutil.which(name):
            return f"This machine has {name}: run `make learn PYTHON={name}`."
    return "Install Python 3.11 (Debian 12: apt install python3 python3-venv), then run `make learn PYTHON=python3.11`."


def is_ready():
    """Was this environment finished from these very pins, here, and does its Python still start?"""
    try:
        with open(STAMP) as stamp:
            finished = stamp.read() == digest()
    except OSError:
        return False
    return finished and python_starts()


def python_starts():
    python = venv_python()
    return os.path.exists(python) and subprocess.call([python, "-c", ""]) == 0


def digest():
    """Fingerprint of everything that decides what must be installed, and of the folder: a moved one is made anew."""
    parts = [ROOT, dotted(sys.version_info), read("requirements.txt"), packaging_part(read("pyproject.toml"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def packaging_part(pyproject):
    """Drop the [tool.*] tables: changing a linter's setting or the published address needs no new install."""
    return re.sub(r"(?ms)^\[tool\..*?(?=^\[(?!tool\.)|\Z)", "", pyproject)


def create():
    """Create .venv, or keep one whose Python starts."""
    if python_starts():
        return
    say(f"Creating {os.path.relpath(VENV, ROOT)} with Python {dotted(sys.version_info)}")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if made.returncode:
        raise SetupFailed(
            f"Python could not create a virtual environment in {VENV}.\n"
            f"On Debian and Ubuntu: apt install python{dotted(sys.version_info)}-venv, then run the same command again.\n"
            f"Python said: {made.stdout.decode(errors='replace').strip()[-500:]}"
        )


def install():
    """Run pip with its live progress; turn its failures into one message."""
    say("Installing the pinned packages (the first time takes some minutes)")
    command = [venv_python(), "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"]
    if os.environ.get("CI"):
        command.append("--quiet")
    pip = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    complaints = listen(pip.stderr)
    if pip.wait():
        raise SetupFailed(explain("".join(complaints)))


def listen(stream):
    """Pass pip's complaints on as they come, except a connection's retries, which end in one message of ours."""
    complaints = []
    for raw in stream:
        line = raw.decode(errors="replace")
        if UNREACHABLE.search(line):
            if not any(UNREACHABLE.search(earlier) for earlier in complaints):
                say("The package index does not answer; trying again for a moment")
        elif not any(UNREACHABLE.search(earlier) for earlier in complaints):
            sys.stderr.write(line)
            sys.stderr.flush()
        complaints.append(line)
    return complaints


def explain(complaints):
    """Say why pip failed and what to do, from what it printed."""
    if UNREACHABLE.search(complaints):
        return (
            "No network: the package index could not be reached, so the course's packages cannot be installed.\n"
            "Connect and run the same command again; what was downloaded is kept. Behind a proxy, set HTTPS_PROXY;\n"
            "with an index or a folder of wheels of your own, set PIP_INDEX_URL or PIP_FIND_LINKS."
        )
    if "No space left on device" in complaints:
        return (
            "The disk is full. The course needs about 2 GB (8 GB where pip brings the CUDA build of PyTorch):\n"
            "free some, set TMPDIR to a larger disk if /tmp is the full one, and run the same command again."
        )
    return (
        "pip could not install the packages; its own message is above. docs/troubleshooting.md lists the usual causes.\n"
        "Run the same command again to continue; `make clean` first starts from nothing (my_work/ is kept)."
    )


def dotted(version):
    """Return the first two parts of a version, as people write it: 3.11."""
    return f"{version[0]}.{version[1]}"


def write_stamp():
    with open(STAMP, "w") as stamp:
        stamp.write(digest())


def venv_python():
    return os.path.join(VENV, "Scripts" if os.name == "nt" else "bin", "python")


def read(name):
    with open(os.path.join(ROOT, name)) as source:
        return source.read()


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
