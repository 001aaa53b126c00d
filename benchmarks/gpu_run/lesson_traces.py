"""What every lesson's notebook records, with the official answers and with the first wrong one of each."""

from __future__ import annotations

import os

from benchmarks.fidelity_programs import lessons


def items(device: str) -> list[str]:
    return [lessons.title(name, leak) for leak in (False, True) for name in lessons.names()]


def run(item: str, device: str):
    os.environ.update(lessons.environment(device))
    yield from lessons.run_notebook(item)
