"""Does attention on the simulated GPU compute what the CPU does and remember what CUDA's flash kernel does?"""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BATCH, HEADS, LENGTH, WIDTH = 2, 4, 128, 16
ONE = BATCH * HEADS * LENGTH * WIDTH * 4  # bytes of query, key, value or output
SQUARE = BATCH * HEADS * LENGTH * LENGTH * 4  # bytes of the matrix that flash attention never keeps


def operands(heads=HEADS):
    return [torch.randn(BATCH, count, LENGTH, WIDTH) for count in (HEADS, heads, heads)]


def masks():
    below = torch.ones(LENGTH, LENGTH).tril().bool()
    return {
        "none": {},
        "causal": {"is_causal": True},
        "boolean": {"attn_mask": below},
        "additive": {"attn_mask": torch.randn(LENGTH, LENGTH)},
        "padding": {"attn_mask": torch.rand(BATCH, 1, 1, LENGTH) > 0.3},
        "scaled": {"scale": 0.5},
    }


def on(device, options):
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in options.items()}


def gradients(tensors, options):
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    output = F.scaled_dot_product_attention(*tensors, **options)
    return [output, *torch.autograd.grad(output.square().sum(), tensors)]


@pytest.mark.parametrize("heads", [HEADS, 2], ids=["all heads", "grouped"])
@pytest.mark.parametrize("name", masks())
def test_results_and_gradients(name, heads, device):
    """Does each kind of mask give the CPU's numbers, also with grouped queries?"""
    tensors, options = operands(heads), {**masks()[name], "enable_gqa": heads != HEADS}
    expected = gradients(tensors, options)
    actual = gradients([tensor.to(device) for tensor in tensors], on(device, options))
    for one, other in zip(expected, actual):
        torch.testing.assert_close(other.detach().cpu(), one.detach(), rtol=1e-4, atol=1e-4)


def kept(device, allocated, **options):
    """Bytes kept between forward and backward."""
    tensors = [tensor.to(device).requires_grad_() for tensor in operands()]
    before = allocated()
    output = F.scaled_dot_product_attention(*tensors, **options)
    after = allocated()
    output.sum().backward()
    return after - before


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.1}], ids=["plain", "causal", "dropout"])
def test_the_square_matrix_is_not_kept(options, device, allocated):
    """GIVEN flash attention THEN only the output and one number per row are kept beside the operands."""
    assert kept(device, allocated, **options) == ONE + BATCH * HEADS * LENGTH * 4


def test_a_mask_costs_itself(device, allocated):
    """GIVEN a boolean mask THEN its float form is kept, and no square matrix per head."""
    mask = torch.ones(LENGTH, LENGTH, device=device).tril().bool()
    assert kept(device, allocated, attn_mask=mask) == ONE + BATCH * HEADS * LENGTH * 4 + LENGTH * LENGTH * 4


def test_asking_for_the_math_kernel(device, allocated):
    """GIVEN sdpa_kernel(MATH) THEN square matrices are kept, as on CUDA."""
    with sdpa_kernel(SDPBackend.MATH):
        assert kept(device, allocated) >= SQUARE


def test_dropout_recomputes_the_same_mask(device):
    """GIVEN dropout WHEN backward recomputes THEN gradients belong to the forward's mask."""
    query, key, value = (tensor.to(device).requires_grad_() for tensor in operands())
    eye = torch.eye(LENGTH, device=device).expand(BATCH, HEADS, LENGTH, LENGTH)
    torch.manual_seed(1)
    weights = F.scaled_dot_product_attention(query, key, eye.contiguous(), dropout_p=0.5).detach()
    torch.manual_seed(1)
    output = F.scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    torch.testing.assert_close(output, weights @ value)
    (gradient,) = torch.autograd.grad(output.sum(), value)
    torch.testing.assert_close(gradient, weights.transpose(-1, -2) @ torch.ones_like(value))
