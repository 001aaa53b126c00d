"""Cells as plain Python: magics, exported names, definitions."""

from __future__ import annotations

import ast

import pytest

from autograder.judge.source import definitions_only, exported_names, strip_magics


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ("x = 1", "x = 1"),
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("if True:\n    %pip install -q torch", "if True:\n    pass"),
        ("!ls -l\nx = 1", "pass\nx = 1"),
        ("files = !ls", "files = None"),
        ("x = %time f()", "x = f()"),
        ("%time f()", "f()"),
        ("%%time\nx = 1", "\nx = 1"),
        ("%%bash\nrm -rf /", ""),
        ("torch.sum?\nx = 1", "pass\nx = 1"),
        ('"""\n%d items\n"""', '"""\n%d items\n"""'),
    ],
)
def test_magics_become_plain_python(cell, plain):
    """Is what is left Python, on the same lines?"""
    assert strip_magics(cell) == plain
    ast.parse(strip_magics(cell))


def test_exported_names_are_public_definitions():
    """Which names does a cell hand to its check?"""
    source = (
        "import os\n_hidden = 1\na, (b, c) = 1, (2, 3)\nd: int = 4\ndef f():\n    inner = 1\nclass G: pass\na = 5\n"
    )
    assert exported_names(source) == ("a", "b", "c", "d", "f", "G")


def test_a_demonstration_leaves_its_definitions():
    """GIVEN a demonstration, THEN functions, imports and constants stay on their lines, and the work goes."""
    source = "import os\nSIZE = 2 * 8\n@staticmethod\ndef f():\n    return 1\nbig = f()\nprint(big)\n"
    assert definitions_only(source) == "import os\nSIZE = 2 * 8\n@staticmethod\ndef f():\n    return 1\n\n\n"
