"""The devices' own random numbers: one generator per device, apart from the CPU's, as on CUDA."""

from __future__ import annotations

import contextlib

import torch

from autograder.simgpu.devices import DEVICES, MOST_DEVICES
from autograder.simgpu.generator import Generator, check

GENERATORS = [Generator.on(index).manual_seed(torch.initial_seed()) for index in range(MOST_DEVICES)]
_shared = False


def default_generator() -> torch.Generator:
    """The current device's."""
    return GENERATORS[DEVICES.current()]


def call(plan, args: list, kwargs: dict):
    """Run a random operator on the host with the generator it was given, else the device's.

    Raises RuntimeError, as CUDA does, for a generator of another device.
    """
    if _shared:
        return plan.op(*args, **kwargs)
    if plan.takes_generator:
        given = kwargs.get("generator") or next((a for a in args if isinstance(a, torch.Generator)), None)
        if given is None:
            kwargs["generator"] = default_generator()
        else:
            check(given)
        return plan.op(*args, **kwargs)
    with as_default():
        return plan.op(*args, **kwargs)


@contextlib.contextmanager
def as_default():
    """Let code that knows only torch's default CPU generator draw from the device's."""
    if _shared:
        yield
        return
    default, ours = torch.random.default_generator, default_generator()
    kept = default.get_state()
    default.set_state(ours.get_state())
    try:
        yield
    finally:
        ours.set_state(default.get_state())
        default.set_state(kept)


def state() -> torch.Tensor:
    """Where the random numbers of the next operator will come from."""
    return (torch.random.default_generator if _shared else default_generator()).get_state()


@contextlib.contextmanager
def replay(earlier: torch.Tensor):
    """Draw again the numbers that followed an earlier ``state()``; afterwards go on as if nothing was drawn."""
    generator = torch.random.default_generator if _shared else default_generator()
    kept = generator.get_state()
    generator.set_state(earlier)
    try:
        yield
    finally:
        generator.set_state(kept)


@contextlib.contextmanager
def shared_with_cpu():
    """Draw from the CPU's generator for a while, so that results can be compared with the CPU's bit by bit."""
    global _shared
    before, _shared = _shared, True
    try:
        yield
    finally:
        _shared = before
