"""The loop that a user names by its line: each pass begins with a call, and nothing else of the script changes."""

from __future__ import annotations

import ast

from autograder.errors import RunError


def with_marked_loop(tree: ast.Module, line: int, mark: str, path: str) -> ast.Module:
    """Return the tree with ``mark()`` at the head of the loop that begins in ``line``.

    Raises RunError, naming the lines of the loops there are, if none begins there.
    """
    loops = {node.lineno: node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.AsyncFor, ast.While))}
    if line not in loops:
        there = ", ".join(map(str, sorted(loops))) or "none"
        raise RunError(f"no loop begins in line {line} of {path}; loops begin in lines: {there}")
    loop = loops[line]
    call = ast.Expr(ast.Call(ast.Name(mark, ast.Load()), [], []))
    loop.body.insert(0, ast.fix_missing_locations(ast.copy_location(call, loop.body[0])))
    return tree
