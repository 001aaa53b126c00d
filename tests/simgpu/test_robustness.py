"""Does the process live, and do the books stay right, whatever a program does?"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import torch

from autograder.simgpu import interrupts


def run(arguments, seconds):
    """Run Python in a process of its own; return what it printed, or fail with everything it said."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def random_program(seed, moves, seconds, device="simgpu"):
    done = run(["-m", "tests.simgpu.random_programs", str(seed), str(moves), device], seconds)
    assert done.stdout.splitlines()[-1:] == ["left 0"], f"seed {seed}, {moves} moves: {done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(("seed", "device"), [(1, "simgpu"), (2, "simgpu"), (3, "cuda"), (4, "cuda")])
def test_a_random_program_neither_ends_the_process_nor_leaves_a_byte(seed, device):
    """Do hooks that raise, interrupts, threads, views, wrappers and running out of memory leave the device in order?"""
    random_program(seed, moves=120, seconds=300, device=device)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_random_programs(seed):
    """The same for some minutes; a failure names the seed."""
    random_program(seed, moves=1500, seconds=900, device=("simgpu", "cuda")[seed % 2])


CTRL_C = """
    import os, signal, threading, time
    import torch
    from autograder import simgpu

    device = simgpu.enable()
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8)).to(device)
    inputs = torch.ones(4, 8, device=device)

    def train():
        for _ in range(10_000):
            model(inputs).sum().backward()
            model.zero_grad()

    def interrupted(call):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            call()
        except KeyboardInterrupt:
            return 1
        return 0

    caught = sum(interrupted(train) for _ in range(12))
    started = time.monotonic()
    asleep = interrupted(lambda: time.sleep(20))
    model.zero_grad()
    torch.simgpu.synchronize()
    held = torch.simgpu.memory_allocated()
    del model, inputs
    print(caught, asleep, time.monotonic() - started < 10, held, torch.simgpu.memory_allocated())
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Ctrl-C cannot be sent to a process here")
def test_an_interrupt_reaches_the_program_and_nothing_else():
    """Does Ctrl-C stop training and sleeping as always, with the process alive and every byte accounted for?"""
    done = run(["-c", textwrap.dedent(CTRL_C)], 300)
    caught, asleep, soon, held, left = done.stdout.split()
    assert int(caught) >= 9, "an interrupt inside a destructor or an import hook may be lost, most may not"
    assert (asleep, soon) == ("1", "True")
    assert (held, left) == (str(5 * 512), "0")
    assert done.stderr == ""


def test_nothing_is_raised_before_the_first_instruction():
    """Is a function that C++ calls where nothing may be raised entered without a look at signals?"""

    @interrupts.entered_undisturbed
    def answer(number=42):
        try:
            return number
        except KeyboardInterrupt:
            return 0

    assert answer() == 42
    assert answer(7) == 7


def test_an_exception_that_was_kept_holds_nothing_once_it_was_caught(device):
    """GIVEN an interrupt that the next operator raises THEN it and the variables on its way die without a collection."""

    class Kept(KeyboardInterrupt):
        pass

    def train():
        weights = torch.ones(1 << 10, device=device)
        interrupts.kept.append((threading.get_ident(), Kept()))
        return weights * 2

    gc.collect()
    gc.disable()
    try:
        before = torch.simgpu.memory_allocated()
        with pytest.raises(KeyboardInterrupt) as caught:
            train()
        assert torch.simgpu.memory_allocated() > before
        del caught
        assert torch.simgpu.memory_allocated() == before
    finally:
        gc.enable()
    assert not interrupts.kept


def test_a_second_signal_lets_no_exception_out_of_its_handler(monkeypatch):
    """GIVEN an interrupt that arrives while the handler runs, maybe below C++ that must not throw THEN the handler
    returns, and the interrupt comes soon after."""

    class Clock:
        sleep = staticmethod(time.sleep)

        @staticmethod
        def monotonic():
            interrupts._raise_in_main_thread(KeyboardInterrupt)
            return 0.0

    handler = interrupts.Interruption(KeyboardInterrupt)
    handler._sent, handler._wanted = 0.0, True
    monkeypatch.setattr(interrupts, "time", Clock)
    returned = False
    with pytest.raises(KeyboardInterrupt):
        handler(signal.SIGINT, None)
        returned = True
        monkeypatch.undo()
        for _ in range(2000):
            time.sleep(0.001)
    assert returned
    handler.settle()


def test_a_handler_of_ones_own_is_left_alone():
    """Does a program that handles Ctrl-C itself keep its handler?"""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupts.install()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


SOAK = """
    import gc, resource, sys
    import torch
    from torch import nn
    from autograder import simgpu

    device = simgpu.enable()
    model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 16).to(device)).square().mean()
            loss.backward()
            optimizer.step()
            loss.item()

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    steps = int(sys.argv[1])
    train(steps // 5)
    allocated, memory = torch.simgpu.memory_allocated(), resident()
    train(steps - steps // 5)
    print(torch.simgpu.memory_allocated() - allocated, resident() - memory)
    del model, optimizer
    gc.collect()
    print(torch.simgpu.memory_allocated())
"""


def soak(steps, seconds):
    """Train that many steps; return the growth of allocated and of process memory, and what is left in the end."""
    done = run(["-c", textwrap.dedent(SOAK), str(steps)], seconds)
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the process's memory from /proc")
def test_a_long_run_stays_flat():
    """Is the device's memory the same after many steps, and the process's about the same?"""
    grown, resident, left = soak(400, 300)
    assert (grown, left) == (0, 0)
    assert resident < 4 << 20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the process's memory from /proc")
def test_ten_thousand_steps_stay_flat():
    """The same for 10,000 steps."""
    grown, resident, left = soak(10_000, 1800)
    assert (grown, left) == (0, 0)
    assert resident < 8 << 20
