"""Device tensors handed to other CUDA libraries: there is nothing at their addresses that could be read."""

from __future__ import annotations

from autograder.errors import NoArrayInterface
from autograder.simgpu.storage import on_device


def no_array_interface(original: property) -> property:
    """Tensor.__cuda_array_interface__: CuPy, Numba and their like need CUDA, and host memory is not what they expect."""

    def interface(tensor):
        if on_device(tensor):
            raise NoArrayInterface(
                "__cuda_array_interface__ is not simulated: no CUDA library can read a simulated tensor. Copy it to the "
                "host first: tensor.cpu().numpy()."
            )
        return original.fget(tensor)

    return property(interface, doc=original.__doc__)
