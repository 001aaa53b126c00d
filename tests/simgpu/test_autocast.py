"""Does torch.autocast("simgpu") cast as torch.autocast("cuda") does?"""

import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from autograder.simgpu import autocast

HALVES = [torch.float16, torch.bfloat16]


def square(device, dtype=torch.float32):
    return torch.randn(4, 4, device=device, dtype=dtype)


LOWERED = {
    "matmul": lambda a, w, h: a @ w,
    "linear": lambda a, w, h: F.linear(a, w),
    "conv": lambda a, w, h: F.conv1d(a[None], w[..., None]),
    "attention": lambda a, w, h: F.scaled_dot_product_attention(a[None, None], a[None, None], a[None, None]),
    "einsum": lambda a, w, h: torch.einsum("ij,jk->ik", a, w),
    "relu": lambda a, w, h: h.relu(),
}
RAISED = {
    "softmax": lambda a, w, h: h.softmax(0),
    "exp": lambda a, w, h: h.exp(),
    "add": lambda a, w, h: h + a,
    "cat": lambda a, w, h: torch.cat([h, a]),
    "stack": lambda a, w, h: torch.stack([h, a]),
    "sum": lambda a, w, h: h.sum(),
    "layer_norm": lambda a, w, h: F.layer_norm(h, (4,)),
    "cross_entropy": lambda a, w, h: F.cross_entropy(h, h.float().argmax(1)),
    "mse": lambda a, w, h: F.mse_loss(h, a),
    "norm": lambda a, w, h: h.norm(),
    "addcmul": lambda a, w, h: torch.addcmul(h, a, h),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", [*LOWERED, *RAISED])
def test_result_types(name, half, device):
    """Which operators run in half precision, which in float32?"""
    operands = square(device), square(device), square(device, half)
    with torch.autocast("simgpu", dtype=half):
        result = (LOWERED.get(name) or RAISED[name])(*operands)
    assert result.dtype == (half if name in LOWERED else torch.float32)


def test_double_and_nesting_and_decorator(device):
    """Are doubles left alone, and do inner regions override outer ones?"""
    a = square(device)
    with torch.autocast("simgpu", dtype=torch.bfloat16):
        assert (a.double() @ a.double()).dtype == torch.float64
        with torch.autocast("simgpu", enabled=False):
            assert (a @ a).dtype == torch.float32
        with torch.autocast("simgpu", dtype=torch.float16):
            assert (a @ a).dtype == torch.float16
        assert (a @ a).dtype == torch.bfloat16
    assert (a @ a).dtype == torch.float32

    @torch.autocast("simgpu")
    def multiply():
        return a @ a

    assert multiply().dtype == torch.float16


def test_cpu_and_device_autocast_are_apart(device):
    """Does CPU autocast leave the device alone, and the other way round?"""
    a = square(device)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.float32
    with torch.autocast("simgpu"):
        assert (torch.randn(2, 2) @ torch.randn(2, 2)).dtype == torch.float32


def test_weights_are_cast_once_and_kept_until_the_end(device, allocated):
    """GIVEN a 1 MiB weight WHEN used twice under autocast THEN one half copy is kept, until the region ends."""
    layer = nn.Linear(512, 512, bias=False).to(device)
    inputs = torch.randn(8, 512, device=device)
    before = allocated()
    with torch.autocast("simgpu", dtype=torch.float16):
        output = layer(inputs)
        output = layer(inputs)
        assert autocast.cached_casts() == 1
        del output
        gc.collect()
        assert allocated() - before == 512 * 512 * 2
    assert autocast.cached_casts() == 0
    assert allocated() == before
    with torch.autocast("simgpu", dtype=torch.float16, cache_enabled=False):
        layer(inputs)
        assert autocast.cached_casts() == 0


def test_gradients_flow_through_a_cached_cast(device):
    """GIVEN a weight used twice under autocast THEN its gradient is float32 and that of the CPU."""
    layer = nn.Linear(8, 8)
    inputs = torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(layer(inputs)).float().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    layer.to(device)
    with torch.autocast("simgpu", dtype=torch.bfloat16):
        layer(layer(inputs.to(device))).float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(layer.weight.grad.cpu(), expected, rtol=2e-2, atol=2e-2)


def test_custom_functions(device):
    """Do custom_fwd and custom_bwd see the right state?"""
    seen = {}

    class Square(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="simgpu", cast_inputs=torch.float32)
        def forward(ctx, x):
            seen["forward"] = x.dtype, torch.is_autocast_enabled("simgpu")
            return x @ x

        @staticmethod
        @torch.amp.custom_bwd(device_type="simgpu")
        def backward(ctx, grad):
            seen["backward"] = torch.is_autocast_enabled("simgpu")
            return grad

    x = square(device).requires_grad_()
    with torch.autocast("simgpu"):
        output = Square.apply(x.half())
    output.sum().backward()
    assert seen == {"forward": (torch.float32, False), "backward": False}


@pytest.mark.parametrize("fused", [None, True])
def test_grad_scaler_skips_a_step_with_infinities(fused, device):
    """GIVEN one step with infinite gradients THEN that step is skipped and the scale halved."""
    layer = nn.Linear(4, 4).to(device)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("simgpu", init_scale=1024.0, growth_interval=2)
    history = []
    for step in range(6):
        inputs = square(device) * (float("inf") if step == 2 else 1)
        before = layer.weight.detach().clone()
        optimizer.zero_grad()
        with torch.autocast("simgpu"):
            loss = layer(inputs).float().pow(2).mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        history.append((scaler.get_scale(), not torch.equal(layer.weight, before)))
    assert history == [(1024, True), (2048, True), (1024, False), (1024, True), (2048, True), (2048, True)]
    scaler.load_state_dict(scaler.state_dict())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks(kind, device):
    """Do recurrent networks run in half precision with float32 gradients?"""
    network = kind(8, 8, 2, bidirectional=True).to(device)
    inputs = torch.randn(5, 3, 8, device=device, requires_grad=True)
    with torch.autocast("simgpu"):
        output, _ = network(inputs)
    output.float().sum().backward()
    assert output.dtype == torch.float16
    assert next(network.parameters()).grad.dtype == torch.float32


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_under_autocast(reentrant, device):
    """Is autocast on again when a checkpoint recomputes?"""
    layer = nn.Linear(8, 8).to(device)
    inputs = torch.randn(2, 8, device=device, requires_grad=True)
    with torch.autocast("simgpu"):
        output = checkpoint(layer, inputs, use_reentrant=reentrant)
    output.float().sum().backward()
    assert output.dtype == torch.float16 and layer.weight.grad is not None


def test_binary_cross_entropy_is_refused(device):
    """Is the loss that overflows in half precision refused, as on CUDA?"""
    values = torch.rand(3, device=device)
    with torch.autocast("simgpu"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        F.binary_cross_entropy(values, values)
