"""Are looks at the heap bounded together, and does the schedule still catch growth? Time is a number here."""

import functools

import pytest

from autograder.run import watch
from autograder.run.looks import FIRST_LOOK, LEAST_SECONDS, MOST_SECONDS, SHARE, Looks


class Run:
    """A script whose steps and looks take as long as it is told."""

    def __init__(self, step_seconds, look_seconds, overrun=0.0):
        self.now, self.step_seconds, self.look_seconds, self.overrun = 100.0, step_seconds, look_seconds, overrun
        self.looks = Looks(lambda: self.now)
        self.looked_at, self.own = [], 0.0

    def go(self, steps):
        for step in range(1, steps + 1):
            self.now += self.step_seconds
            self.own += self.step_seconds
            seconds = self.looks.due(step)
            if seconds:
                before = self.looks.seconds
                self.looks.taken(step, functools.partial(self.look, step, seconds))
                assert self.looks.seconds - before <= seconds + self.overrun + 1e-6
        return self

    def look(self, step, seconds):
        self.now += min(self.look_seconds(step), seconds) + self.overrun
        self.looked_at.append(step)


@pytest.mark.parametrize("step_seconds", [0.001, 0.05, 1.0, 20.0])
@pytest.mark.parametrize("cost", [0.01, 0.6, 5.0, 60.0])
def test_all_looks_together_take_a_tenth_of_the_scripts_own_time(step_seconds, cost):
    """GIVEN looks of any length WHEN a script runs THEN they take a tenth of its own time, or one second, at most."""
    run = Run(step_seconds, lambda step: cost).go(1000)
    assert run.looks.seconds <= max(SHARE * run.own, LEAST_SECONDS) + 1e-6
    assert run.looked_at[0] == FIRST_LOOK, "the first look is always taken"


def test_looks_that_grow_longer_stay_within_it():
    """GIVEN a heap that grows with every step THEN the tenth holds all the same."""
    run = Run(0.05, lambda step: 0.01 * step).go(5000)
    assert run.looks.seconds <= SHARE * run.own + LEAST_SECONDS and len(run.looked_at) >= 3


def test_cheap_looks_keep_the_schedule():
    """GIVEN looks that cost next to nothing THEN they are taken after 8 steps, 16, 32 and so on."""
    assert Run(0.01, lambda step: 0.001).go(300).looked_at == [8, 16, 32, 64, 128, 256]


def test_a_look_that_must_wait_is_taken_as_soon_as_there_is_time():
    """GIVEN looks of 0.8 s in steps of 0.1 s THEN the second comes when a tenth of the run pays for both."""
    first, second, *_ = Run(0.1, lambda step: 0.8).go(400).looked_at
    assert first == 8 and 160 <= second <= 162


def test_a_look_that_outlasts_its_time_is_paid_for():
    """GIVEN a walk that cannot be stopped half-way THEN what it took too long delays the next one."""
    early = Run(0.1, lambda step: 0.3).go(200).looked_at
    late = Run(0.1, lambda step: 0.3, overrun=2.0).go(200).looked_at
    assert len(late) < len(early)


def test_no_look_lasts_longer_than_most_seconds():
    run = Run(1000.0, lambda step: 0.0)
    run.now += 1e6
    assert run.looks.due(FIRST_LOOK) == MOST_SECONDS and run.looks.due(FIRST_LOOK - 1) == 0.0


LEAK = """
import torch

def main():
    kept = []
    weight = torch.nn.Parameter(torch.ones(8, device="cuda"))
    optimizer = torch.optim.SGD([weight], 0.1)
    for _ in range(12):
        (weight * 2).sum().backward()
        optimizer.step()
        kept.append(torch.ones(256, device="cuda"))

main()
"""


def test_the_diagnosis_gets_the_seconds_that_are_left(monkeypatch, script, run):
    """GIVEN a script that leaks WHEN it is looked at THEN the search for holders may take what the schedule allows."""
    allowed = []
    real = watch.diagnose

    def noted(trace, **options):
        allowed.append(options.get("seconds"))
        return real(trace, **options)

    monkeypatch.setattr(watch, "diagnose", noted)
    report = run(script(LEAK)).report
    assert allowed[0] is not None and 0 < allowed[0] <= LEAST_SECONDS
    held = [holder for group in report["diagnosis"]["groups"] for holder in group["held_by"]]
    assert any("list `kept` of function `main`" in holder for holder in held)
