"""``python -m autograder run script.py``: an unmodified training script, and what its memory did."""

from __future__ import annotations

from autograder.run.command import Options, run_script

__all__ = ["Options", "run_script"]
