"""The verdict of every check on stubs, answers and fixtures, as each trial ends."""

from __future__ import annotations

import os
import queue
import threading

from benchmarks.fidelity_programs import lessons


def items(device: str) -> list[str]:
    return lessons.names()


def run(item: str, device: str):
    os.environ.update(lessons.environment(device))
    said: queue.Queue = queue.Queue()

    def judge() -> None:
        try:
            lessons.judge_lesson(item, lambda label, found: said.put((f"{item}/{label}", found)))
            said.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
            said.put(error)

    threading.Thread(target=judge, daemon=True).start()
    while (found := said.get()) is not None:
        if isinstance(found, BaseException):
            raise found
        yield found
