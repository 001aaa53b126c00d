"""Matrix products with a result of another type (torch.mm(a, b, out_dtype=torch.float32)); only CUDA has them.

Source: ATen/native/cuda/Blas.cpp (_mm_dtype_cuda and its kin), Dropout.cu for masked_scale.
"""

from __future__ import annotations

import torch

from autograder.simgpu import workspaces
from autograder.simgpu.errors_like_cuda import check_one_device
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_HALVES = (torch.float16, torch.bfloat16)


def _register(name: str, with_bias: bool) -> None:
    packet = getattr(torch.ops.aten, name)
    operation = packet.default

    def product(*args, beta=1, alpha=1):
        *operands, out_dtype = args
        check_one_device(name, **dict(zip(("self", "first", "second"), operands)))
        first, second = operands[-2:]
        if first.dtype != second.dtype:
            raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {first.dtype} != {second.dtype}")
        if out_dtype != first.dtype and not (out_dtype is torch.float32 and first.dtype in _HALVES):
            raise RuntimeError("out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs")
        if workspaces.counted():
            workspaces.for_product(name, tuple(operands), {"beta": beta})
        scales = {"beta": beta, "alpha": alpha} if with_bias else {}
        return wrap(operation(*(unwrap(operand).to(out_dtype) for operand in operands), **scales))

    kernel(f"{name}.dtype")(product)


for _name in ("mm", "bmm"):
    _register(_name, with_bias=False)
for _name in ("addmm", "baddbmm"):
    _register(_name, with_bias=True)


@kernel("_masked_scale")
def masked_scale(self, mask, scale):
    """self * mask * scale, in one kernel."""
    check_one_device("_masked_scale", self=self, mask=mask)
    return wrap(unwrap(self) * unwrap(mask).to(self.dtype) * scale)
