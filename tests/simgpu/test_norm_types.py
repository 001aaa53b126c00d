"""Which mixtures of types do norms take, and do they train then? (Normalization.cu, layer_norm_kernel.cu)"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

HALVES = [torch.float16, torch.bfloat16]
SHAPES = [(6, 3), (6, 3, 4), (2, 3, 4, 4)]


def batch_norm(device, dtype, shape, weights, statistics, training):
    """(result, running statistics, gradients) of one call; types of weights and statistics, or None for none."""
    torch.manual_seed(0)
    numbers = [torch.randn(shape), torch.randn(shape), torch.rand(3), torch.rand(3), torch.rand(3), torch.rand(3) + 0.5]
    x = numbers[0].to(device, dtype).requires_grad_()
    affine = [None, None]
    if weights is not None:
        affine = [tensor.to(device, weights).requires_grad_() for tensor in numbers[2:4]]
    running = [None, None] if statistics is None else [tensor.to(device, statistics) for tensor in numbers[4:]]
    result = F.batch_norm(x, *running, *affine, training)
    wanted = [x, *(tensor for tensor in affine if tensor is not None)]
    grads = torch.autograd.grad(result, wanted, numbers[1].to(device, dtype))
    assert result.dtype == dtype and [grad.dtype for grad in grads] == [tensor.dtype for tensor in wanted]
    return result, running, grads


@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("statistics", [torch.float32, "same", None], ids=str)
@pytest.mark.parametrize("weights", [torch.float32, "same", None], ids=str)
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_mixes_with_float32(dtype, weights, statistics, training, shape, device):
    """GIVEN halves with weights and statistics of either type, or none THEN results of float32 within rounding."""
    if statistics is None and not training:
        pytest.skip("evaluation needs statistics")
    types = [dtype if kind == "same" else kind for kind in (weights, statistics)]
    widened = [None if kind is None else torch.float32 for kind in types]
    result, running, grads = batch_norm(device, dtype, shape, *types, training)
    expected, expected_running, expected_grads = batch_norm("cpu", torch.float32, shape, *widened, training)
    pairs = zip((expected, *expected_running, *expected_grads), (result, *running, *grads))
    for one, other in pairs:
        if one is not None:
            torch.testing.assert_close(other.detach().cpu().float(), one.detach(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4)], ids=["PyTorch's kernel", "cuDNN"])
@pytest.mark.parametrize("dtype, weights", [(torch.float32, torch.float16), (torch.float64, torch.float32)])
def test_other_mixtures_are_refused_in_cudas_words(dtype, weights, shape, device):
    """GIVEN weights that CUDA's kernel does not read THEN RuntimeError of the kernel that would have taken the call."""
    words = "^expected scalar type (Float|Double) but found (Half|Float)$"
    if len(shape) == 3:
        words = "^Expected tensor for argument #1 'input' to have the same type as tensor for argument #2 'weight'; but type"
    with pytest.raises(RuntimeError, match=words):
        F.batch_norm(
            torch.ones(shape, device=device, dtype=dtype),
            None,
            None,
            *(torch.ones(3, device=device, dtype=weights) for _ in range(2)),
            training=True,
        )


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.InstanceNorm1d, nn.LayerNorm, nn.GroupNorm])
def test_norms_train_under_autocast(kind, affine, dtype, device):
    """GIVEN a projection head, as self-supervised models have it WHEN trained under autocast THEN every weight learns."""
    norm = {
        nn.BatchNorm1d: lambda: nn.BatchNorm1d(4, affine=affine),
        nn.InstanceNorm1d: lambda: nn.InstanceNorm1d(4, affine=affine, track_running_stats=True),
        nn.LayerNorm: lambda: nn.LayerNorm(5, elementwise_affine=affine),
        nn.GroupNorm: lambda: nn.GroupNorm(2, 4, affine=affine),
    }[kind]()
    network = nn.Sequential(nn.Linear(4, 5), norm).to(device)
    for training in (True, False):
        network.train(training).zero_grad()
        with torch.autocast("simgpu", dtype=dtype):
            result = network(torch.rand(3, 4, 4, device=device))
        result.float().square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("function", [
    lambda x, w: F.layer_norm(x, (4,), w), lambda x, w: F.group_norm(x, 2, w),
], ids=["layer norm", "group norm"])  # fmt: skip
@pytest.mark.parametrize("dtype, name", zip(HALVES, ["Half", "BFloat16"]))
def test_layer_and_group_norm_want_one_type(function, dtype, name, device):
    """GIVEN float32 weights beside halves THEN what pytorch/pytorch#135969 reports; the same type is fine."""
    x, weight = torch.ones(2, 4, device=device, dtype=dtype), torch.ones(4, device=device)
    with pytest.raises(RuntimeError, match=f"^expected scalar type {name} but found Float$"):
        function(x, weight)
    assert function(x, weight.to(dtype)).dtype == dtype


def test_rms_norm_of_mixed_types_is_not_fused(device):
    """GIVEN a float32 weight beside halves THEN PyTorch's composite, with the CPU's result ("Cannot dispatch to fused")."""
    x, weight = torch.rand(2, 4).half(), torch.rand(4)
    expected = F.rms_norm(x, (4,), weight)
    actual = F.rms_norm(x.to(device), (4,), weight.to(device))
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual.cpu(), expected)
