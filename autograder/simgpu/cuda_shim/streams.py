"""torch.Stream and torch.Event for "cuda", and what torch.cuda's streams and events say of themselves."""

from __future__ import annotations

import torch

from autograder.simgpu import compat, streams
from autograder.simgpu.cuda_shim.devices import to_simgpu


def general_stream(original: type) -> type:
    """torch.Stream: for "cuda", and for no device at all, one of the simulated GPU's."""
    return _general(original, lambda device, priority=0, **kwargs: streams.Stream(device, priority, **kwargs))


def general_event(original: type) -> type:
    """torch.Event: the same."""
    return _general(original, _event)


def _event(device, enable_timing=False, blocking=False, interprocess=False):
    return streams.Event(enable_timing, blocking, interprocess)


def _general(original: type, make) -> type:
    class General(type(original)):
        def __call__(cls, device=None, *args, **kwargs):
            device = to_simgpu("cuda" if device is None else device)
            if isinstance(device, int):
                device = torch.device(compat.NAME, device)
            if cls is not general or torch.device(device).type != compat.NAME:
                return super().__call__(device, *args, **kwargs)
            return make(device, *args, **kwargs)

        def __instancecheck__(cls, thing) -> bool:
            return isinstance(thing, original)

        def __subclasscheck__(cls, other) -> bool:
            return issubclass(other, original)

    general = General(original.__name__, (original,), {"__module__": "torch"})
    return general
