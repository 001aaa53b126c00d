"""Random operators of DTensor on the simulated GPU.

DTensor gives each shard numbers of its own by moving the offset in the generator's state, which it reads as CUDA's: 8
bytes of seed, 8 of offset (torch/distributed/tensor/_random.py, ``_PhiloxState``). A state of the simulated GPU is that of
PyTorch's CPU generator. So the offset is kept beside it, and a state moved by an offset is that of a generator seeded with
a digest of both: equal on all ranks, another one for each shard.
"""

from __future__ import annotations

import hashlib
import sys

import torch

_MODULE = "torch.distributed.tensor._random"


def adapt() -> None:
    """Let DTensor's reader of states understand ours too, if it is loaded; called whenever a state is asked for."""
    module = sys.modules.get(_MODULE)
    if module is None or hasattr(module._PhiloxState, "_simgpu_offset"):
        return
    kind = module._PhiloxState
    kind.state, kind.offset = _state_property(kind.state), _offset_property(kind.offset)
    kind._simgpu_offset = 0


def _is_ours(reader) -> bool:
    return reader._state.numel() == torch.random.default_generator.get_state().numel()


def _state_property(of_cuda: property) -> property:
    def state(reader):
        if not _is_ours(reader) or not reader._simgpu_offset:
            return of_cuda.fget(reader)
        return moved(reader._state, reader._simgpu_offset)

    return property(state)


def _offset_property(of_cuda: property) -> property:
    def offset(reader):
        return torch.tensor([reader._simgpu_offset], device="cpu") if _is_ours(reader) else of_cuda.fget(reader)

    def set_offset(reader, value) -> None:
        if _is_ours(reader):
            reader._simgpu_offset = int(value)
        else:
            of_cuda.fset(reader, value)

    return property(offset, set_offset)


def moved(state: torch.Tensor, offset: int) -> torch.Tensor:
    """A generator's state that depends on an earlier one and on an offset from it, and on nothing else."""
    digest = hashlib.blake2b(state.numpy().tobytes(), digest_size=8, salt=offset.to_bytes(16, "little")).digest()
    return type(torch.random.default_generator)().manual_seed(int.from_bytes(digest, "little") >> 1).get_state()
