"""torch.Generator(device="simgpu"): PyTorch's CPU generator that says it lives on the device.

So a device generator draws the numbers of a CPU generator with the same seed (Mersenne Twister; CUDA's Philox draws
others), and its state is the CPU generator's 5056 bytes (CUDA: 16 bytes of seed and offset).
"""

from __future__ import annotations

import weakref

import torch

from autograder.errors import NotSimulated
from autograder.simgpu import compat
from autograder.simgpu.devices import DEVICES, OURS, said_type

_TorchGenerator = torch.Generator
_NO_OFFSET = (
    "the offset of CUDA's random numbers (Philox) is not simulated: the device draws from a CPU generator. "
    "Keep and restore get_state() instead"
)
_OURS: weakref.WeakValueDictionary[int, Generator] = weakref.WeakValueDictionary()


class _EveryGenerator(type(_TorchGenerator)):
    """``isinstance(g, torch.Generator)`` holds for CPU generators too."""

    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, _TorchGenerator)

    def __subclasscheck__(cls, subclass) -> bool:
        return issubclass(subclass, _TorchGenerator)


class Generator(_TorchGenerator, metaclass=_EveryGenerator):
    """torch.Generator(device="cpu"); for the simulated GPU an object of this class, else PyTorch's own.

    Raises
    ------
    torch.AcceleratorError
        If there is no simulated device of that index.
    """

    def __new__(cls, device="cpu"):
        device = torch.device(device)
        if device.type not in OURS:
            return _TorchGenerator(device)
        return cls.on(DEVICES.resolve(device))

    @classmethod
    def on(cls, index: int) -> Generator:
        """A generator of the simulated device with this index (possible before the device has its name)."""
        made = _TorchGenerator.__new__(cls)
        made._index = index
        _OURS[compat.generator_address(made)] = made
        return made

    @property
    def device(self) -> torch.device:
        """The simulated device."""
        return torch.device(compat.NAME, self._index)

    def clone_state(self) -> Generator:
        """Another generator of the device, in the same state."""
        return Generator.on(self._index).set_state(self.get_state())

    def get_offset(self) -> int:
        """Raises NotSimulated: a Mersenne Twister has no offset."""
        raise NotSimulated(_NO_OFFSET)

    def set_offset(self, offset: int) -> None:
        """Raises NotSimulated: a Mersenne Twister cannot be set forward."""
        raise NotSimulated(_NO_OFFSET)

    def __reduce__(self):
        return Generator.on, (self._index,), self.get_state()

    def __setstate__(self, state) -> None:
        self.set_state(state)


def check(generator: torch.Generator) -> None:
    """Raise RuntimeError, in the words of ATen/core/Generator.h, for a generator of another device."""
    if compat.generator_address(generator) not in _OURS:
        raise RuntimeError(f"Expected a '{said_type()}' device type for generator but found '{generator.device.type}'")
