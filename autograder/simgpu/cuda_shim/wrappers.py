"""Tensors without a storage of their own: wrapper subclasses and fake tensors made for the device that a script sees.

A script reads ``cuda:0`` from a tensor and makes a wrapper for that device. Autograd compares devices in C++, where the
tensors inside are on the simulated one, so the wrapper is made for that, too, and shows itself as ``cuda:0`` as they do.
The constructors of torch that take a device for such a tensor are ``Tensor._make_wrapper_subclass`` and
``Tensor._make_subclass`` (``device_for_backend_keys``), of which FakeTensor alone uses the latter.
"""

from __future__ import annotations

from autograder.simgpu.cuda_shim.devices import to_simgpu
from autograder.simgpu.standin import StandIn

_OF_FAKE = ("device", "fake_device", "_fake_device")


def made_for_simgpu(original):
    """Tensor._make_wrapper_subclass."""

    def make(*args, **kwargs):
        return original(*map(to_simgpu, args), **{name: to_simgpu(value) for name, value in kwargs.items()})

    return staticmethod(StandIn(original, make))


def fake_for_simgpu(original: staticmethod):
    """FakeTensor.__new__(cls, fake_mode, elem, device, ...)."""
    new = original.__func__

    def __new__(cls, *args, **kwargs):
        given = {name: to_simgpu(kwargs[name]) for name in _OF_FAKE if kwargs.get(name) is not None}
        return new(cls, *map(to_simgpu, args), **{**kwargs, **given})

    return staticmethod(StandIn(new, __new__))
