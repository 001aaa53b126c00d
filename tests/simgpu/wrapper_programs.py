"""Programs with tensors that have no storage of their own; run in a process of their own by test_wrappers.py.

Each takes the device as a script names it and returns plain data. One that PyTorch takes for a real CUDA device ends
the process, so the caller learns which by what was printed last.
"""

import json
import sys
import warnings

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention


class Wrapper(torch.Tensor):
    """A weight that is a wrapper subclass, as quantized and sharded ones are."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        inner = [argument.inner if isinstance(argument, cls) else argument for argument in args]
        result = function(*inner, **(kwargs or {}))
        return cls(result) if isinstance(result, torch.Tensor) else result


class Positional(Wrapper):
    """The same, with the device by position."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), 0, None, inner.dtype, torch.strided, inner.device
        )


def _gradient_of(kind, device):
    weight = torch.nn.Parameter(kind(torch.ones(4, device=device)))
    (weight * weight).sum().backward()
    return [weight.device.type, weight.is_cuda, weight.grad.inner.tolist(), weight.to(device) is weight]


def wrapper(device):
    return _gradient_of(Wrapper, device)


def wrapper_by_position(device):
    return _gradient_of(Positional, device)


def wrapper_written_to(device):
    wrapped = Wrapper(torch.ones(4, device=device))
    wrapped.copy_(torch.zeros(4, device=device))
    return wrapped.inner.tolist()


def wrapper_moved(device):
    moved = Wrapper(torch.ones(2)).to(device)
    return [moved.inner.device.type, moved.inner.tolist(), moved.cpu().inner.device.type]


def fake_tensors(device):
    with FakeTensorMode():
        layer = torch.nn.Linear(4, 4, device=device)
        made = layer(torch.randn(2, 4, device=device))
        made.sum().backward()
        return [made.device.type, list(layer.weight.grad.shape), made.to(device) is made, made.cpu().device.type]


def fake_from_real(device):
    real = torch.ones(3, device=device)
    fake = FakeTensorMode().from_tensor(real)
    return [fake.device.type, list((fake * 2).shape)]


def exported(device):
    program = torch.export.export(torch.nn.Linear(4, 1).to(device), (torch.randn(2, 4, device=device),))
    return list(program.module()(torch.randn(3, 4, device=device)[:2]).shape)


def masked(device):
    mask = torch.tensor([True, False, True, True], device=device)
    x = masked_tensor(torch.arange(4.0, device=device), mask, requires_grad=True)
    (x * x).sum().backward()
    return [x.device.type, x.grad.get_data()[mask].tolist()]


def jagged(device):
    parts = [torch.ones(n, 8, device=device, requires_grad=True) for n in (3, 5)]
    batch = torch.nested.as_nested_tensor(parts, layout=torch.jagged)
    layer = torch.nn.Linear(8, 4).to(device)
    layer(batch).values().pow(2).sum().backward()
    return [batch.device.type, list(layer.weight.grad.shape), list(parts[0].grad.shape)]


def jagged_attention(device):
    torch.manual_seed(0)
    parts = [torch.randn(n, 8).to(device) for n in (3, 5)]
    heads = torch.nested.nested_tensor(parts, layout=torch.jagged).unsqueeze(2).transpose(1, 2)
    made = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
    return [round(number, 4) for number in made.transpose(1, 2).values()[:, 0, 0].tolist()]


def flex(device):
    q = torch.randn(1, 2, 128, 16, device=device, requires_grad=device != "cpu")  # the CPU has no backward of it
    mask = create_block_mask(lambda b, h, i, j: i >= j, 1, 1, 128, 128, device=device)
    made = flex_attention(q, q, q, block_mask=mask)
    if device != "cpu":
        made.sum().backward()
        assert q.grad.shape == q.shape
    return list(made.shape)


PROGRAMS = {
    program.__name__: program
    for program in (
        wrapper, wrapper_by_position, wrapper_written_to, wrapper_moved, fake_tensors, fake_from_real, exported, masked,
        jagged, jagged_attention, flex,
    )
}  # fmt: skip

if __name__ == "__main__":
    from autograder.simgpu.cuda_shim import cuda_means_simgpu

    warnings.simplefilter("ignore")
    with cuda_means_simgpu():
        for name, program in PROGRAMS.items():
            print(f"{name} ", end="", flush=True)
            print(json.dumps([program("cpu"), program("cuda")]), flush=True)
    sys.exit(0)
