"""Notebook cells as plain Python: magics removed, exported names, definitions only.

Nothing here runs IPython, so a notebook that registers input transformers changes nothing.
"""

from __future__ import annotations

import ast
import re

BODY_MAGICS = {"time", "timeit", "capture", "prun", "memit", "python", "python3", "py"}
LINE_BODY_MAGICS = {"time", "prun", "timeit"}

_CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*")
_LINE_MAGIC = re.compile(r"^(\s*)(?:[\w, ]+=\s*)?[%!]")
_TIMED = re.compile(r"^(\s*)(.*?)%(\w+)\s+(.*)$")
_HELP = re.compile(r"^(\s*)(\?{1,2}\S.*|[\w.]+\?{1,2})\s*$")


def strip_magics(source: str) -> str:
    """Return the cell as plain Python with the same number of lines.

    Line magics and shell lines become ``pass``; ``%time f()`` keeps ``f()``; a cell magic whose body is
    not Python (``%%bash``, ``%%writefile``) empties the cell.
    """
    cell_magic = _CELL_MAGIC.match(source)
    if cell_magic:
        if cell_magic.group(1) not in BODY_MAGICS:
            return ""
        blank = "\n" * cell_magic.group().count("\n")
        return strip_magics(blank + source[cell_magic.end() :])
    if _parses(source):
        return source
    return "\n".join(_plain_line(line) for line in source.split("\n"))


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def _plain_line(line: str) -> str:
    help_line = _HELP.match(line)
    if help_line:
        return help_line.group(1) + "pass"
    if not _LINE_MAGIC.match(line):
        return line
    timed = _TIMED.match(line)
    if timed and timed.group(3) in LINE_BODY_MAGICS and not timed.group(4).startswith("-"):
        return timed.group(1) + timed.group(2) + timed.group(4)
    indent = line[: len(line) - len(line.lstrip())]
    name = line.strip().split("=")[0].strip()
    return f"{indent}{name} = None" if name.isidentifier() else f"{indent}pass"


def exported_names(source: str) -> tuple[str, ...]:
    """Return the public names a cell binds at its top level by ``def``, ``class`` or assignment."""
    names: list[str] = []
    for node in ast.parse(strip_magics(source)).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)]
    return tuple(dict.fromkeys(name for name in names if not name.startswith("_")))


def definitions_only(source: str) -> str:
    """Keep only what a cell defines: functions, classes, imports and constants, on their own lines.

    Used for demonstration cells the learner left as they were: an answer may call a function shown
    there, but the demonstration itself need not run again.
    """
    try:
        tree = ast.parse(strip_magics(source))
    except SyntaxError:
        return ""
    lines = source.split("\n")
    kept = [""] * len(lines)
    for node in tree.body:
        if _is_definition(node):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            kept[first - 1 : node.end_lineno] = lines[first - 1 : node.end_lineno]
    return "\n".join(kept)


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return _is_constant(node.value)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom))


def _is_constant(node: ast.expr) -> bool:
    return all(
        isinstance(
            leaf, (ast.Constant, ast.Tuple, ast.List, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.Load)
        )
        for leaf in ast.walk(node)
    )
