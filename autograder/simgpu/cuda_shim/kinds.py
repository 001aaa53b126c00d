"""Stand-ins that keep their kind: classes that answer under another name, classes and functions that refuse."""

from __future__ import annotations

from collections.abc import Callable

from autograder.errors import NotSimulated
from autograder.simgpu.cuda_shim.devices import all_to_simgpu


def refusing(name: str, reason: str) -> Callable:
    """A function that says why ``name`` is not simulated."""

    def refuse(*args, **kwargs):
        raise NotSimulated(f"{name} is not simulated: {reason}. Take the call out, or use a real GPU.")

    refuse.__name__ = refuse.__qualname__ = name.rpartition(".")[2]
    return refuse


def refusing_class(original: type, name: str, reason: str) -> type:
    """A class in the place of ``original`` that cannot be made, nor can what derives from it.

    It can be named in annotations, be asked for (isinstance: nothing is one) and be derived from; its static and class
    methods refuse as well.
    """
    refuse = refusing(name, reason)

    class Refused(type(original)):
        def __call__(cls, *args, **kwargs):
            refuse()

    made_without = {
        attribute: staticmethod(refuse)
        for attribute, value in vars(original).items()
        if isinstance(value, (staticmethod, classmethod))
    }
    return Refused(original.__name__, (original,), {"__module__": "torch.cuda", "__doc__": reason, **made_without})


def shown_class(original: type, module: str) -> type:
    """``original`` under CUDA's name: CUDA devices among its arguments are understood, and every object of ``original`` is
    one of it. Can be derived from."""

    class Shown(type(original)):
        def __call__(cls, *args, **kwargs):
            args, kwargs = all_to_simgpu(args, kwargs)
            return super().__call__(*args, **kwargs)

        def __instancecheck__(cls, thing) -> bool:
            return isinstance(thing, original) if cls is shown else super().__instancecheck__(thing)

        def __subclasscheck__(cls, other) -> bool:
            return issubclass(other, original) if cls is shown else super().__subclasscheck__(other)

    shown = Shown(original.__name__, (original,), {"__module__": module, "__doc__": original.__doc__})
    return shown
