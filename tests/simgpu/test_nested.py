"""Do strided nested tensors of the device compute what the CPU's do, and are they counted?"""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autograder.simgpu import compat, nested

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")


def made(device, **options):
    parts = [torch.arange(24.0).view(3, 8) / 10, -torch.arange(40.0).view(5, 8) / 20]
    return torch.nested.nested_tensor(parts, device=device, **options)


PROGRAMS = {
    "sums": lambda n: n * 2 + n,
    "transposed": lambda n: n.transpose(1, 2),
    "product": lambda n: torch.matmul(n, n.transpose(1, 2)),
    "softmax": lambda n: torch.softmax(n, -1),
    "norm": lambda n: F.layer_norm(n, (8,), torch.ones(8, device=n.device), torch.zeros(8, device=n.device)),
    "written": lambda n: n.clone().mul_(3),
    "activated": lambda n: F.gelu(F.relu(n)),
    "padded": lambda n: torch.nested.to_padded_tensor(n, 7.0),
    "first": lambda n: n[0],
    "reshaped": lambda n: n.reshape(2, -1, 2, 4).transpose(1, 2).contiguous(),
    "half": lambda n: n.half(),
    "from the host": lambda n: n.to("cpu").to(n.device),
    "attention": lambda n: F.scaled_dot_product_attention(*[n.reshape(2, -1, 2, 4).transpose(1, 2).contiguous()] * 3),
}


def parts_of(tensor):
    return [part.cpu() for part in (tensor.unbind() if tensor.is_nested else [tensor])]


@pytest.mark.parametrize("name", PROGRAMS)
def test_operators_agree_with_the_cpu(device, name):
    there, here = PROGRAMS[name](made(device)), PROGRAMS[name](made("cpu"))
    assert there.device == device and there.is_nested == here.is_nested
    for ours, theirs in zip(parts_of(there), parts_of(here), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_agree_with_the_cpu(device):
    found = []
    for where in (device, "cpu"):
        torch.manual_seed(0)
        layer, batch = nn.Linear(8, 4).to(where), made(where, requires_grad=True)
        torch.nested.to_padded_tensor(layer(batch).relu(), 0.0).pow(2).sum().backward()
        found.append([layer.weight.grad.cpu(), *(part.cpu() for part in batch.grad.unbind())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_buffer_is_what_counts(device, allocated):
    before = allocated()
    batch = made(device)
    assert allocated() - before == 512, "64 numbers of 4 bytes, in the smallest block"
    view = batch.transpose(1, 2)
    assert allocated() - before == 512
    kept = view * 1
    assert allocated() - before == 1024
    del batch, view, kept
    assert allocated() == before


def test_every_kernel_of_the_cpu_has_one_here(device):
    known = compat.names_of_kernels("NestedTensorCPU")
    assert known.difference(nested._NOT_HERE) <= compat.names_of_kernels(compat.NESTED_KEY)


def test_an_encoder_with_padding_agrees_where_there_is_none(device):
    """The padding itself stays padding here; the CPU makes nested tensors of it and fills it with zeros."""
    found = []
    for where in (device, "cpu"):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
        encoder = nn.TransformerEncoder(layer, 2).to(where).eval()
        padding = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]], device=where).bool()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(encoder(torch.randn(2, 5, 8).to(where), src_key_padding_mask=padding).cpu())
    torch.testing.assert_close(found[0][0, :3], found[1][0, :3])
    torch.testing.assert_close(found[0][1], found[1][1])
