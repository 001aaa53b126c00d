"""Runs one part: its items in children, a crash or a hang costing one item, until its time is over."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gpu_run import results
from benchmarks.gpu_run.child import Child, Ended, Silent, Stopped
from benchmarks.gpu_run.parts import Part

START_UP_SECONDS = 120.0


@dataclass
class Outcome:
    """What is known of a part after a round. ``items``, each with its variables, is None until they are listed."""

    items: dict[str, dict[str, str]] | None = None
    missing: list[str] = field(default_factory=list)
    why: str = ""
    seconds: float = 0.0
    dropped: int = 0


class Supervisor:
    """Runs parts into a folder. ``stop`` ends everything at the next glance (a fifth of a second)."""

    def __init__(self, folder: Path, device: str, jobs: int, say: Callable[[str], None] = print) -> None:
        self.folder, self.device, self.jobs, self.say = folder, device, jobs, say
        self.stop = threading.Event()
        self.wanted: dict[str, set[str]] | None = None
        """Part to items, where only some are wanted."""

    def run(self, part: Part, until: float, outcome: Outcome) -> None:
        """Run what a part still lacks until a moment of ``time.monotonic()``; fills ``outcome``."""
        began = time.monotonic()

        def over() -> bool:
            return self.stop.is_set() or time.monotonic() >= until

        path = self.folder / part.file
        file = results.PartFile(path)
        scout = Child(part, self.device, {}, over)
        try:
            about = scout.hear(START_UP_SECONDS)
            scout.send("")
            listed = scout.hear(START_UP_SECONDS)
            if not results.about(path):
                file.add(about)
            self._note(part, listed, outcome)
            done = results.ended(path)
            queue = collections.deque(pair for pair in outcome.items.items() if pair[0] not in done)
            self._work(part, queue, file, over, scout)
        except Stopped:
            outcome.why = outcome.why or "no time was left"
        except (Ended, Silent) as error:
            outcome.why = str(error)
        finally:
            scout.end()
            file.close()
            outcome.seconds += round(time.monotonic() - began, 1)
            outcome.dropped += file.dropped

    def _note(self, part: Part, listed: dict, outcome: Outcome) -> None:
        outcome.items, outcome.missing, outcome.why = listed["items"], listed["missing"], listed["why"]
        if self.wanted is not None:
            wanted = self.wanted.get(part.name, ())
            outcome.items = {item: variables for item, variables in outcome.items.items() if item in wanted}

    def _work(self, part, queue, file, over, scout) -> None:
        """Share the items among some threads, each with a child of its own."""
        count = max(1, min(self.jobs if part.parallel else 1, len(queue)))
        firsts = [scout] + [None] * (count - 1)
        threads = [threading.Thread(target=self._serve, args=(part, queue, file, over, first)) for first in firsts]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)

    def _serve(self, part, queue, file, over, child: Child | None) -> None:
        """Take items while there are any, and time."""
        try:
            while not over():
                try:
                    item, variables = queue.popleft()
                except IndexError:
                    return
                if child is not None and child.variables != variables:
                    child.end()
                    child = None
                child = self._item(part, item, variables, file, over, child)
        except Stopped:
            return
        finally:
            if child is not None:
                child.end()

    def _item(self, part, item, variables, file, over, child) -> Child | None:
        """Run one item; the child for the next, or None where it is spent. Raises Stopped."""
        began, last = time.monotonic(), {}
        try:
            if child is None:
                child = Child(part, self.device, variables, over)
                child.hear(START_UP_SECONDS)
            child.send(item)
            while not last.get("end"):
                last = child.hear(part.silence)
                file.add(last)
        except Stopped:
            child.end()
            raise
        except (Ended, Silent) as error:
            child.end()
            last = {"item": item, "end": True, "error": str(error), "seconds": round(time.monotonic() - began, 3)}
            file.add(last)
        self.say(
            f"  {item}: {last['error'].splitlines()[0][:150] if last['error'] else 'done'}, {last['seconds']:.1f} s"
        )
        if "spoilt" in last and not last["spoilt"] and not part.fresh:
            return child
        child.end()
        return None
