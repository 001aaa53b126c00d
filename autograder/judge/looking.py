"""Who is behind an event: the judge, a library for its own ends, or the learner. The rules of the audit hook.

All that the rules use is enclosed when they are made, so that a learner who imports this module finds nothing to change.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from types import CodeType, FrameType
from typing import NamedTuple

from autograder.judge.sights import (
    CALLED_BACK,
    DEALERS,
    IMPORTER,
    LIBRARIES,
    LOADER,
    MACHINE_CODE,
    MEMORY,
    OURS,
    POSING,
    READABLE,
    RUNNING,
    Sight,
)


class Rules(NamedTuple):
    """``complaint`` judges a sight, ``special`` the events whose arguments matter; both return words or None."""

    complaint: Callable[[FrameType | None, Sight, str, tuple], str | None]
    special: dict[str, Callable[[FrameType, tuple], str | None]]
    place: Callable[[FrameType], tuple[str, int]]
    trust: Callable[[frozenset[str] | None], None]


def make_rules(line=None) -> Rules:
    """Make the rules; ``line`` knows which descriptors are the grader's."""
    kind_of, is_trusted, trust = _make_kinds()
    find_dealer = _make_dealers()

    def complaint(frame, sight, event, arguments):
        """Say what was done, unless whoever is behind it is code of ours or a library's that says so itself."""
        if event == "os.kill" and arguments[0] == own_process():
            return None
        if frame is None:
            return sight.did
        code, names, dealt = frame.f_code, sight.names, False
        while names_too := find_dealer(code.co_filename, code.co_name):
            names, dealt, frame = names | names_too, True, frame.f_back
            if frame is None:
                return sight.did
            code = frame.f_code
        kind = kind_of(code.co_filename)
        if kind and ((kind == "library" and (dealt or sight.everyday)) or not names.isdisjoint(code.co_names)):
            return None
        return sight.did

    def place(frame):
        """Return file and line of the nearest code that is neither ours nor a library's."""
        while frame is not None:
            if not is_trusted(frame.f_code.co_filename):
                return frame.f_code.co_filename, frame.f_lineno or 0
            frame = frame.f_back
        return "", 0

    own_process, imported = os.getpid, [True]
    special = {**_running(complaint, is_trusted, imported), **_files(place, is_trusted, imported, line)}
    return Rules(complaint, special, place, trust)


def _make_kinds() -> tuple[Callable, Callable, Callable]:
    """Return what names the kind of a file, what tells whether it is the learner's, and what is told the lesson's own."""
    ours, libraries = OURS, LIBRARIES
    instructors: frozenset[str] = frozenset()

    def kind(filename):
        if filename in instructors or filename.startswith(ours):
            return "ours"
        return "library" if filename.startswith(libraries) else ""

    def is_trusted(filename):
        return filename in instructors or filename.startswith((ours, *libraries))

    def trust(names):
        nonlocal instructors
        instructors = names or instructors

    return kind, is_trusted, trust


def _make_dealers() -> Callable[[str, str], frozenset[str] | None]:
    """Return what gives a dealer's names, by which its callers know it, or None where a function is no dealer."""
    known: dict[str, tuple | None] = {}
    table, libraries, everything = dict(DEALERS), LIBRARIES, frozenset({"*"})

    def look_up(filename):
        if filename in table:
            return table[filename], filename
        for library in libraries:
            if filename.startswith(library):
                parts = filename[library.__len__() :].removeprefix("site-packages/").split("/")
                path = ""
                for part in parts:
                    path = f"{path}/{part}" if path else part
                    if path in table:
                        return table[path], path.removesuffix(".py").rpartition("/")[2]
        return None

    def find_dealer(filename, function):
        if filename not in known:
            known[filename] = look_up(filename)
        found = known[filename]
        if found is None or (found[0] != everything and function not in found[0]):
            return None
        return everything | {function, found[1]}

    return find_dealer


def _running(complaint, is_trusted, imported: list) -> dict:
    """Code that is compiled, run or put into a function: by whom, and under whose name?"""
    running, posing, called_back = RUNNING, Sight(RUNNING.names, f"{POSING} (compile)"), f"{CALLED_BACK} (exec)"
    text, code_type, type_of, importer, posed = str, CodeType, type, IMPORTER, f"{POSING} (exec)"

    def poses(code, trusted_too=True):
        """Does this code, or code in it, say that it comes from a file of ours or of a library?"""
        if trusted_too and is_trusted(code.co_filename):
            return True
        for part in code.co_consts:
            if type_of(part) is code_type and poses(part):
                return True
        return False

    def on_exec(frame, arguments):
        code, runner = arguments[0], frame.f_code.co_filename
        if not is_trusted(runner):
            return posed if type_of(code) is code_type and poses(code) else None
        if runner == importer and type_of(code) is code_type:
            claims = is_trusted(code.co_filename)
            return posed if (claims and not imported[0]) or (not claims and poses(code, trusted_too=False)) else None
        return called_back if complaint(frame, running, "", ()) else None

    def on_compile(frame, arguments):
        filename = arguments[1]
        if type_of(filename) is text and is_trusted(filename):
            return complaint(frame, posing, "", ())
        return called_back if is_trusted(frame.f_code.co_filename) and complaint(frame, running, "", ()) else None

    def on_function(frame, arguments):
        code = arguments[-1]
        strange = type_of(code) is code_type and not is_trusted(frame.f_code.co_filename) and poses(code)
        return posed if strange else None

    return {"exec": on_exec, "compile": on_compile, "function.__new__": on_function, "object.__setattr__": on_function}


def _files(place, is_trusted, imported: list, line) -> dict:
    """Files that are opened: the grader's own descriptors, memory by way of /proc, machine code.

    ``imported`` remembers whether what the import system read last is a file of ours or of a library.
    """
    readable, look, text, number = re.compile(READABLE).fullmatch, os.stat, str, int
    unreadable, type_of, dealers = OSError, type, MACHINE_CODE
    is_pipe, held = stat.S_ISFIFO, getattr(line, "descriptors", frozenset())
    pipes = frozenset((found.st_dev, found.st_ino) for found in map(os.fstat, held))
    libraries, memory, loader = LIBRARIES, MEMORY, LOADER
    try:
        proc = os.stat("/proc").st_dev
    except OSError:
        proc = None

    def on_open(frame, arguments):
        path = arguments[0]
        if frame.f_code.co_filename == loader:
            imported[0] = type_of(path) is text and is_trusted(path)
        if type_of(path) is number and path not in held:
            return None
        try:
            found = look(path)
        except (unreadable, ValueError, TypeError):
            return None
        if is_pipe(found.st_mode) and (found.st_dev, found.st_ino) in pipes:
            return "opened the grader's own pipe (open)" if place(frame)[0] else None
        if found.st_dev == proc and not (type_of(path) is text and readable(path)):
            return "opened the grader's process below /proc (open)" if place(frame)[0] else None
        return None

    def on_import(frame, arguments):
        name, filename = arguments[0], arguments[1]
        strange = type_of(filename) is text and filename[-3:] == ".so" and not filename.startswith(libraries)
        if (strange or name in dealers) and place(frame)[0]:
            return f"{memory} (import of {name})"
        return None

    return {"open": on_open, "import": on_import}
