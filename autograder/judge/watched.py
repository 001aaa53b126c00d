"""A check cell, cut so that the seal is looked at after every statement.

Without this, an answer could replace a check while it is being measured and put it back before the cell ends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import CodeType

VERIFY = "__verify_the_seal__"


def watched_body(source: str, filename: str) -> Iterator[tuple[CodeType, bool]]:
    """Yield the top-level statements as code objects, with whether it is the last expression (to be evaluated)."""
    tree = ast.fix_missing_locations(_Watcher().visit(ast.parse(source, filename)))
    for index, statement in enumerate(tree.body):
        if isinstance(statement, ast.Expr) and index == len(tree.body) - 1:
            yield compile(ast.Expression(statement.value), filename, "eval", dont_inherit=True), True
        else:
            yield compile(ast.Module([statement], []), filename, "exec", dont_inherit=True), False


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
    call = ast.Call(ast.Name(VERIFY, ast.Load()), [], [])
    return ast.copy_location(ast.Expr(call), statement)
