"""Execute a script as ``python script.py`` does, in this process, and say how it ended."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.machinery
import importlib.util
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

from autograder.errors import RunError
from autograder.run.loops import with_marked_loop
from autograder.simgpu.interrupts import settle
from autograder.trace.frames import without_our_frames

MARK = "__autograder_step__"
INTERRUPTED, TERMINATED = 130, 143
"""Exit statuses of a shell: 128 plus the number of SIGINT and of SIGTERM."""


class Outcome(NamedTuple):
    """How a script ended: its exit status, the exception that ended it, and its own module, still alive."""

    status: int
    error: BaseException | None
    module: types.ModuleType


class Script:
    """A script that was read and compiled.

    Parameters
    ----------
    path : str
        The file, as ``python`` would be given it.
    loop : int, optional
        Line of the loop of which each pass is a step.
    spec : ModuleSpec, optional
        What ``python -m`` knows of the module that this file is; without it the file is a script.

    Raises
    ------
    RunError
        If there is no such file, it is not Python, or no loop begins in that line.
    """

    def __init__(self, path: str, loop: int | None = None, spec: importlib.machinery.ModuleSpec | None = None):
        self.path = path
        self.file = os.path.abspath(path)
        self.spec = spec
        tree = _parsed(path, self.file)
        if loop is not None:
            tree = with_marked_loop(tree, loop, MARK, path)
        self._code = compile(tree, self.file, "exec", dont_inherit=True)

    @classmethod
    def of_module(cls, name: str, loop: int | None = None) -> Script:
        """The file that ``python -m name`` executes; finding it imports the packages that hold it, as there.

        Raises RunError if there is no such module, or it is not a Python file.
        """
        with _first_on_path(os.getcwd()):
            spec = _spec_of(name)
        if spec.origin is None or not spec.has_location or not spec.origin.endswith(".py"):
            raise RunError(f"{name} is no Python file ({spec.origin}); expected a module such as package.train")
        return cls(spec.origin, loop, spec)

    def execute(self, arguments: list[str], mark: Callable[[], None]) -> Outcome:
        """Run it to its end, whichever that is: nothing is raised.

        ``mark()`` is called at the beginning of each pass of the marked loop. What Python itself would print about
        an uncaught exception goes to stderr.
        """
        module = self._new_main(mark)
        folder = os.path.dirname(self.file) if self.spec is None else os.getcwd()
        with _as_main(module, self.path, folder, arguments), _terminable():
            try:
                self._run(module)
            except SystemExit as error:
                return Outcome(_status_of(error), error, module)
            except BaseException as error:  # noqa: BLE001 - a script may raise anything
                _report(error)
                return Outcome(INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1, error, module)
        return Outcome(0, None, module)

    def _run(self, module: types.ModuleType) -> None:
        try:
            exec(self._code, module.__dict__)  # noqa: S102 - this is what the command is for
        finally:
            settle()

    def _new_main(self, mark: Callable[[], None]) -> types.ModuleType:
        module = types.ModuleType("__main__")
        module.__dict__.update(
            __file__=self.file,
            __builtins__=builtins,
            __cached__=None,
            __spec__=self.spec,
            __package__=None if self.spec is None else self.spec.parent,
            __loader__=importlib.machinery.SourceFileLoader("__main__", self.file),
        )
        module.__dict__[MARK] = mark
        return module


def _spec_of(name: str) -> importlib.machinery.ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
        is_package = spec is not None and spec.submodule_search_locations is not None
        if is_package:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except (ImportError, ValueError) as error:
        raise RunError(f"cannot find the module {name!r}: {error}; expected what `python -m` would be given") from None
    if spec is None and is_package:
        raise RunError(f"{name} is a package without a __main__ module; name one of its modules")
    if spec is None:
        raise RunError(f"there is no module {name!r}; expected what `python -m` would be given, from {os.getcwd()}")
    return spec


@contextlib.contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:1] = [folder]
    try:
        yield
    finally:
        sys.path[:] = before


def _parsed(path: str, file: str) -> ast.Module:
    try:
        with open(file, "rb") as stream:
            return ast.parse(stream.read(), filename=file)
    except FileNotFoundError:
        raise RunError(f"there is no script {path!r}; expected the path of a Python file, from {os.getcwd()}") from None
    except OSError as error:
        raise RunError(f"cannot read {path!r}: {error.strerror}; expected the path of a Python file") from None
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise RunError(
            f"{path}{where} is not Python {sys.version_info[0]}.{sys.version_info[1]}: {error.msg}"
        ) from None
    except ValueError as error:
        raise RunError(f"{path} is not a Python source file: {error}") from None


@contextlib.contextmanager
def _as_main(module: types.ModuleType, path: str, folder: str, arguments: list[str]) -> Iterator[None]:
    """Let the process look as if ``python path arguments`` had been typed."""
    before = sys.argv, list(sys.path), sys.modules["__main__"]
    sys.argv, sys.path[:1], sys.modules["__main__"] = [path, *arguments], [folder], module
    try:
        yield
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = before


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """A polite request to end (SIGTERM) ends the script, and not the report with it."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number, frame) -> None:
    raise SystemExit(TERMINATED)


def _status_of(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _report(error: BaseException) -> None:
    """What Python prints, without this package's frames; one sentence where only a package is missing."""
    if isinstance(error, ModuleNotFoundError):
        print(f"error: {_missing(error)}", file=sys.stderr)
        return
    error.__traceback__ = without_our_frames(error.__traceback__)
    sys.excepthook(type(error), error, error.__traceback__)


def _missing(error: ModuleNotFoundError) -> str:
    name = (error.name or "").split(".")[0]
    if not name:
        return str(error)
    return f"the script needs the package {name!r}, which is not installed here; install it (pip install ...) and run again"
