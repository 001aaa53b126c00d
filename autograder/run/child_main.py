"""Stands in for a script's main module in the processes it spawns; see children.py."""

from __future__ import annotations

from autograder.run.children import script_as_child

if __name__ == "__mp_main__":
    globals().update(script_as_child())
