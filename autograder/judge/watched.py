"""A check cell, cut so that the seal is looked at after every statement.

Without this, an answer could replace a check while it is being measured and put it back before the cell ends.
The call that looks is part of the compiled code, not of the namespace: no name can be bound over it.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from types import CodeType

_PLACE = "\0look at the seal\0"
"""Stands where the function itself goes once the code is compiled."""


def watched_body(source: str, filename: str, verify: Callable[[], None]) -> list[tuple[CodeType, bool]]:
    """Return the top-level statements as code objects, with whether it is the last expression (to be evaluated)."""
    found = []
    tree = ast.fix_missing_locations(_Watcher().visit(ast.parse(source, filename)))
    for index, statement in enumerate(tree.body):
        is_last = isinstance(statement, ast.Expr) and index == len(tree.body) - 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # calling a text looks like a mistake
            if is_last:
                code = compile(ast.Expression(statement.value), filename, "eval", dont_inherit=True)
            else:
                code = compile(ast.Module([statement], []), filename, "exec", dont_inherit=True)
        found.append((_with_function(code, verify), is_last))
    return found


class _Watcher(ast.NodeTransformer):
    """Adds a call after each statement inside functions, loops, branches and ``with`` blocks."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if not isinstance(node, (ast.Module, ast.ClassDef)):
            for name in ("body", "orelse", "finalbody"):
                block = getattr(node, name, None)
                if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                    setattr(node, name, [part for statement in block for part in (statement, _verify_after(statement))])
        return node


def _verify_after(statement: ast.stmt) -> ast.stmt:
    call = ast.Call(ast.Constant(_PLACE), [], [])
    return ast.copy_location(ast.Expr(call), statement)


def _with_function(code: CodeType, verify: Callable[[], None]) -> CodeType:
    """Put the function in its place, also in nested code."""

    def filled(constant):
        if isinstance(constant, CodeType):
            return _with_function(constant, verify)
        return verify if constant == _PLACE and isinstance(constant, str) else constant

    return code.replace(co_consts=tuple(filled(constant) for constant in code.co_consts))
