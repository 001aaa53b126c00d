"""torch.simgpu's seeds and random states: the functions of torch.cuda.random."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from autograder.simgpu import dtensor_random
from autograder.simgpu.devices import DEVICES
from autograder.simgpu.randomness import GENERATORS, default_generator


class _OnePerDevice(Sequence):
    def __len__(self) -> int:
        return DEVICES.count

    def __getitem__(self, index):
        return GENERATORS[: DEVICES.count][index]


default_generators = _OnePerDevice()


def manual_seed(seed: int) -> None:
    """Seed the current device's generator."""
    default_generator().manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all devices; torch.manual_seed does, too."""
    for generator in default_generators:
        generator.manual_seed(int(seed))


def seed() -> None:
    """Seed the current device's generator from the operating system."""
    default_generator().seed()


def seed_all() -> None:
    """Seed the generators of all devices alike, from the operating system."""
    manual_seed_all(default_generator().seed())


def initial_seed() -> int:
    """The current device's seed."""
    return default_generator().initial_seed()


def get_rng_state(device=None) -> torch.Tensor:
    """State of a device's generator, by default the current one's: 5056 bytes in a CPU tensor."""
    dtensor_random.adapt()
    return GENERATORS[DEVICES.resolve(device)].get_state()


def set_rng_state(new_state: torch.Tensor, device=None) -> None:
    """Put an earlier state back."""
    GENERATORS[DEVICES.resolve(device)].set_state(new_state)


def get_rng_state_all() -> list[torch.Tensor]:
    """One state per device."""
    return [generator.get_state() for generator in default_generators]


def set_rng_state_all(new_states) -> None:
    """Put earlier states back, one per device."""
    for generator, state in zip(default_generators, new_states):
        generator.set_state(state)
