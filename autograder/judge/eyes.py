"""An audit hook that sees a learner's code look at the grader, stops it, and remembers. It cannot be taken out.

Python tells an audit hook of the doings in ``sights.py`` before they happen. Where the learner's code is behind one, the
hook notes it, reports it to the parent, and raises ``PermissionError``: the frame is not handed out.

Nothing that the hook relies on can be reached from a module, an object or a frame of the judge's: it is all enclosed.
For the same reason the hook also keeps the pipes to the parent; it writes to them only for the functions that were named
when it was opened, called by the functions that were named.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from autograder.judge.guarded import GUARD, originals
from autograder.judge.looking import make_rules
from autograder.judge.sights import FRAME_ATTRIBUTES, REWRITES, SIGHTS

ARM, SAY, ASK = "autograder.judge.arm", "autograder.judge.say", "autograder.judge.ask"


class Seen(NamedTuple):
    """What was done, in the learner's file and line if one was behind it."""

    did: str
    filename: str
    line: int


class Eyes:
    """What the judge holds of an open hook."""

    def __init__(self, take: Callable[[], list[Seen]], rewrites: Callable[[], int]) -> None:
        self.take, self.rewrites = take, rewrites

    def arm(self, trusted: Iterable[str]) -> None:
        """Look out from now on; code compiled under the names in ``trusted`` is the instructor's."""
        sys.audit(ARM, frozenset(trusted))

    def disarm(self) -> None:
        """Look away, where the hook was not opened for good."""
        sys.audit(ARM, None)


def open_eyes(line=None, chains: tuple = ()) -> Eyes:
    """Install the hook for good and return what the judge holds of it.

    Parameters
    ----------
    line : Line, optional
        The pipes to the parent. With it, what was armed stays armed.
    chains : tuple
        Pairs of code objects: who may write to the pipes, and by whom it must have been called.
    """
    hook, eyes = _make_hook(line, chains, originals())
    sys.addaudithook(hook)
    return eyes


@functools.cache
def shared_eyes() -> Eyes:
    """Return one hook for this process, without pipes: for sessions that judge beside other work."""
    return open_eyes()


def _make_hook(line, chains: tuple, kept: tuple):
    """Everything by name here is a cell of the hook: neither modules nor builtins are asked while it runs."""
    import gc
    from _thread import get_ident

    sights, attributes, rewriting = dict(SIGHTS), dict(FRAME_ATTRIBUTES), REWRITES
    rules = make_rules(line)
    complaint, special, place, trust = rules.complaint, dict(rules.special), rules.place, rules.trust
    getframe, collects, stop, go_on = sys._getframe, gc.isenabled, gc.disable, gc.enable
    guarding, saying, asking, arming = GUARD, SAY, ASK, ARM
    ours = frozenset({guarding, saying, asking, arming})
    others = ours | special.keys()
    say, ask = getattr(line, "say", None), getattr(line, "ask", None)
    expected: dict[int, bool] = {}
    refusal, text = PermissionError, str
    notes: list[tuple[str, str, int]] = []
    armed, rewritten = False, 0

    def hook(event, arguments):
        nonlocal armed, rewritten
        if event == "object.__getattr__":
            sight = attributes.get(arguments[1])
            if sight is None:
                return
        elif event == "object.__setattr__":
            rewritten += arguments[1] in rewriting
            if arguments[1] != "__code__":
                return
            sight = None
        else:
            sight = sights.get(event)
            if sight is None and event not in others:
                return
        if event == "sys._getframe" and expected.pop(get_ident(), False):
            return
        if not armed and event not in ours:
            return
        collected = collects()
        stop()
        try:
            expected[get_ident()] = True
            frame = getframe(1)
            if event in ours:
                did = serve(event, arguments, frame)
            elif sight is not None:
                did = complaint(frame, sight, event, arguments)
            else:
                did = special[event](frame, arguments)
            if did is not None:
                filename, number = place(frame)
                notes.append((did, filename, number))
                if say is not None:
                    say("noted", did, filename, text(number))
        finally:
            expected.pop(get_ident(), False)
            if collected:
                go_on()
        if did is not None:
            raise refusal(f"while you are graded, your code must not do this: it {did}")

    def serve(event, arguments, frame):
        """Do what only the judge's own code may ask for; return what is wrong where someone else asks."""
        nonlocal armed
        if event == guarding:
            return guarded(arguments[0], frame)
        if event == arming:
            if line is None or not armed:
                armed = arguments[0] is not None
                trust(arguments[0])
            return None
        above = frame.f_back
        for writer, caller in chains:
            if frame.f_code is writer and above is not None and above.f_code is caller:
                if event == saying:
                    say(*arguments)
                else:
                    arguments[0].append(ask(*arguments[1:]))
                return None
        return "spoke in the grader's name"

    def guarded(box, frame):
        for wrapper, original, sight in kept:
            if frame.f_code is wrapper:
                did = None
                if armed and sight.names:
                    did = complaint(frame.f_back, sight, "", box)
                elif armed and place(frame)[0]:
                    did = sight.did
                if did is None:
                    box.append(original(*box[0], **box[1]))
                return did
        return "called what is guarded"

    def take():
        found = [Seen(*what) for what in notes]
        notes.clear()
        return found

    return hook, Eyes(take, lambda: rewritten)
