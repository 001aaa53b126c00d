"""Does each call of attention take the kernel that CUDA takes (sdp_utils.cpp), and keep what that kernel keeps?"""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from autograder.simgpu import attention_choice
from autograder.simgpu.attention_choice import CUDNN, EFFICIENT, FLASH, MATH, Call
from tests.simgpu.conftest import DEVICE

BATCH, HEADS, ROWS, WIDTH = 2, 4, 80, 16
BLOCK = 512  # smallest block of the allocator
F32, F16, BF16, F64 = torch.float32, torch.float16, torch.bfloat16, torch.float64


def operands(dtype=F32, rows=ROWS, width=WIDTH, value_width=None, kv_heads=HEADS, columns=None):
    shapes = [
        (HEADS, rows, width),
        (kv_heads, columns or rows, width),
        (kv_heads, columns or rows, value_width or width),
    ]
    return [torch.zeros(BATCH, *shape, dtype=dtype, device=DEVICE) for shape in shapes]


def chosen(tensors, mask=None, dropout=0.0, is_causal=False, grouped=False):
    return attention_choice.choose(Call(*tensors, mask, dropout, is_causal, grouped))


CHOICES = {
    "half": (FLASH, {"dtype": F16}, {}),
    "bfloat16, causal, dropout": (FLASH, {"dtype": BF16}, {"is_causal": True, "dropout": 0.1}),
    "half, odd width is padded": (FLASH, {"dtype": F16, "width": 12}, {}),
    "half, wide": (FLASH, {"dtype": F16, "width": 256}, {}),
    "half, wider": (EFFICIENT, {"dtype": F16, "width": 264}, {}),
    "half, grouped heads": (FLASH, {"dtype": F16, "kv_heads": 2}, {"grouped": True}),
    "half, causal over other lengths": (EFFICIENT, {"dtype": F16, "columns": 96}, {"is_causal": True}),
    "half, other width of values": (EFFICIENT, {"dtype": F16, "value_width": 24}, {}),
    "float": (EFFICIENT, {}, {}),
    "float, dropout": (EFFICIENT, {}, {"dropout": 0.1}),
    "float, width not a multiple of 4": (MATH, {"width": 18}, {}),
    "float, grouped heads": (MATH, {"kv_heads": 2}, {"grouped": True}),
    "double": (MATH, {"dtype": F64}, {}),
}


@pytest.mark.parametrize("name", CHOICES)
def test_which_kernel(name, device):
    """GIVEN a call THEN the kernel is that of select_sdp_backend at compute capability 8.0."""
    expected, shapes, options = CHOICES[name]
    assert chosen(operands(**shapes), **options) == expected


@pytest.mark.parametrize("dtype", [F32, F16])
def test_a_mask_goes_to_the_efficient_kernel(dtype, device):
    """GIVEN a mask THEN flash is out (check_for_attn_mask)."""
    assert chosen(operands(dtype), torch.zeros(ROWS, ROWS, device=device, dtype=dtype)) == EFFICIENT


def test_three_dimensions_go_to_math(device):
    """check_tensor_shapes: all fused kernels want four."""
    assert chosen([tensor[0] for tensor in operands()]) == MATH


def test_what_the_user_allows(device):
    """Does sdpa_kernel choose, reorder and exclude as on CUDA?"""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        assert chosen(operands(F16)) == CUDNN
        with pytest.raises(RuntimeError, match="No available kernel"):
            chosen(operands(F32))
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION], set_priority=True):
        assert chosen(operands(F16)) == EFFICIENT
    with sdpa_kernel(SDPBackend.MATH):
        assert chosen(operands(F16)) == MATH


def rounded(nbytes):
    return -(-nbytes // BLOCK) * BLOCK


def after_forward(allocated, tensors, **options):
    tensors = [tensor.requires_grad_() for tensor in tensors]
    before = allocated()
    output = F.scaled_dot_product_attention(*tensors, **options)
    return allocated() - before, output


LSE = BATCH * HEADS * ROWS * 4
OUTPUT = BATCH * HEADS * ROWS * WIDTH
ALIGNED = BATCH * HEADS * 96 * 4  # 80 rows padded to a multiple of 32


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_flash_keeps_rows_and_its_random_state(dropout, device, allocated):
    """Output, one float32 per row, and two small tensors (rng_state, unused): _meta_registrations.py, flash_api.cpp."""
    kept, _output = after_forward(allocated, operands(BF16), dropout_p=dropout)
    assert kept == rounded(OUTPUT * 2) + rounded(LSE) + 2 * BLOCK


def test_efficient_pads_rows_and_lays_heads_inside(device, allocated):
    """Output as (batch, row, head, width); rows padded to 32; random state on the host: _meta_registrations.py."""
    kept, output = after_forward(allocated, operands())
    assert kept == rounded(OUTPUT * 4) + rounded(ALIGNED)
    assert output.transpose(1, 2).is_contiguous()
    with torch.no_grad():
        kept, _output = after_forward(allocated, operands())
    assert kept == rounded(OUTPUT * 4)


def test_a_mask_with_odd_rows_is_padded(device, allocated):
    """GIVEN rows of 75 THEN the mask kept has rows of 80 (pad_bias<16>), and no copy per head."""
    mask = torch.ones(75, 75, dtype=torch.bool, device=device)
    kept, _output = after_forward(allocated, operands(rows=75), attn_mask=mask)
    assert kept == rounded(BATCH * HEADS * 75 * WIDTH * 4) + rounded(BATCH * HEADS * 96 * 4) + rounded(75 * 80 * 4)


def test_what_flash_takes_in_backward(device, ledger):
    """GIVEN contiguous gradients THEN beside them: float32 dq of 128 rows and 32 columns, and a number per row."""
    tensors = [torch.zeros(BATCH, 128, HEADS, 32, dtype=BF16, device=device).transpose(1, 2) for _ in range(3)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    output = F.scaled_dot_product_attention(*tensors)
    grad = torch.zeros_like(output)
    before = ledger.counters().allocated
    ledger.reset_peak()
    grads = torch.autograd.grad(output, tensors, grad)
    elements = BATCH * HEADS * 128 * 32
    freed_meanwhile = 0
    assert (
        ledger.counters().peak - before == 3 * elements * 2 + elements * 4 + BATCH * HEADS * 128 * 4 + freed_meanwhile
    )
    del grads


def test_a_trained_bias_gets_its_gradient(device):
    """GIVEN a mask that requires gradients THEN they are the CPU's."""
    tensors = [torch.randn(BATCH, HEADS, 16, WIDTH) for _ in range(3)]
    bias = torch.randn(HEADS, 16, 16)

    def run(where):
        leaves = [tensor.detach().to(where).requires_grad_() for tensor in (*tensors, bias)]
        output = F.scaled_dot_product_attention(*leaves[:3], leaves[3][None])
        return torch.autograd.grad(output.square().sum(), leaves)

    for one, other in zip(run("cpu"), run(device)):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [12, 16])
@pytest.mark.parametrize("value_width", [16, 24])
def test_numbers_of_every_kernel(width, value_width, device):
    """Do padded widths and other widths of values give the CPU's numbers in half precision?"""
    tensors = [torch.randn(BATCH, HEADS, 20, w).to(BF16) for w in (width, width, width if width == 12 else value_width)]
    expected = F.scaled_dot_product_attention(*tensors)
    actual = F.scaled_dot_product_attention(*[tensor.to(device) for tensor in tensors])
    torch.testing.assert_close(actual.cpu(), expected, rtol=2e-2, atol=2e-2)
