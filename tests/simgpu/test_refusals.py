"""What neither CUDA nor the simulated GPU computes: one clear sentence each. And what CUDA does, although the CPU does not."""

import pytest
import torch
import torch.nn.functional as F

from autograder.errors import NotSimulated
from autograder.simgpu import operator_table


def integers(device, *shape):
    return torch.ones(shape, dtype=torch.int64, device=device)


def pixels(device):
    return torch.zeros(1, 3, 4, 4, dtype=torch.uint8, device=device)


# --- types that CUDA's kernels lack: torch.testing's op_db, dtypesIfCUDA
TYPES = {
    "product": (lambda d: integers(d, 2, 2) @ integers(d, 2, 2), "\"addmm_cuda\" not implemented for 'Long'"),
    "linear": (lambda d: F.linear(integers(d, 2, 2), integers(d, 2, 2), integers(d, 2)), '"addmm_cuda"'),
    "batched product": (lambda d: integers(d, 1, 2, 2) @ integers(d, 1, 2, 2), '"baddbmm_cuda"'),
    "matrix and vector": (lambda d: integers(d, 2, 2) @ integers(d, 2), '"addmv_impl_cuda"'),
    "dot": (lambda d: integers(d, 2) @ integers(d, 2), "\"dot\" not implemented for 'Long'"),
    "convolution": (lambda d: F.conv1d(integers(d, 1, 1, 4), integers(d, 1, 1, 2)), "not implemented for 'Long'"),
    "max_pool2d": (lambda d: F.max_pool2d(pixels(d), 2), "not implemented for 'Byte'"),
    "avg_pool2d": (lambda d: F.avg_pool2d(integers(d, 1, 1, 4, 4), 2), '"avg_pool2d_out_cuda_frame" not implemented'),
    "bilinear": (lambda d: F.interpolate(pixels(d), scale_factor=2, mode="bilinear"), "not implemented for 'Byte'"),
    "bicubic": (lambda d: F.interpolate(pixels(d), scale_factor=2, mode="bicubic"), "not implemented for 'Byte'"),
    "antialiased": (lambda d: F.interpolate(pixels(d), scale_factor=0.5, mode="bilinear", antialias=True), "'Byte'"),
    "igamma": (lambda d: torch.igamma(*[torch.ones(2, device=d).half()] * 2), "'Half'"),
}


@pytest.mark.parametrize("name", TYPES)
def test_types_that_cuda_refuses(name, device):
    """GIVEN a type that the CPU computes and CUDA does not THEN CUDA's words."""
    operation, words = TYPES[name]
    with pytest.raises(NotImplementedError, match=words):
        operation(device)


def test_nearest_takes_pixels(device):
    """GIVEN uint8 THEN nearest interpolation works, as on CUDA."""
    assert F.interpolate(pixels(device), scale_factor=2).shape == (1, 3, 8, 8)


# --- types that the CPU's kernels lack
def half(device, *shape):
    torch.manual_seed(0)
    return torch.rand(shape).to(device, torch.float16).requires_grad_()


WIDER = {
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), (1, 1, 4, 4, 4)),
    "antialiased": (lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True), (1, 1, 4, 4)),
    "margin": (lambda x: F.multi_margin_loss(x, torch.zeros(2, dtype=torch.long, device=x.device)), (2, 3)),
    "margins": (
        lambda x: F.multilabel_margin_loss(x, torch.zeros(2, 3, dtype=torch.long, device=x.device)), (2, 3)
    ),
    "round": (lambda x: torch.round(x, decimals=1), (3,)),
    "polygamma": (lambda x: torch.polygamma(1, x + 1), (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDER)
def test_types_that_the_cpu_lacks(name, device):
    """GIVEN half precision where only CUDA has it THEN the result and the gradient of float32, rounded."""
    function, shape = WIDER[name]
    x = half(device, *shape)
    reference = x.detach().cpu().float().requires_grad_()
    result, expected = function(x), function(reference)
    assert result.dtype == torch.float16
    result.sum().backward()
    expected.sum().backward()
    for one, other in ((expected, result), (reference.grad, x.grad)):
        torch.testing.assert_close(other.detach().cpu().float(), one.detach(), rtol=0.01, atol=0.01)


def test_a_histogram_of_integers(device):
    """GIVEN integers THEN histc counts them, as on CUDA only."""
    found = torch.histc(torch.tensor([1, 2, 2], device=device), 3)
    assert found.tolist() == [1, 0, 2] and found.dtype == torch.int64


# --- products with another type of result
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_in_float32(dtype, device):
    """GIVEN out_dtype THEN halves give an exact float32 product, and other types are refused."""
    a, b = torch.rand(2, 3).to(dtype), torch.rand(3, 4).to(dtype)
    expected = a.float() @ b.float()
    x, y = a.to(device), b.to(device)
    bias = torch.ones(2, 4, device=device, dtype=dtype)
    for result in (
        torch.mm(x, y, out_dtype=torch.float32),
        torch.bmm(x[None], y[None], out_dtype=torch.float32)[0],
        torch.addmm(bias, x, y, out_dtype=torch.float32) - 1,
        torch.baddbmm(bias[None], x[None], y[None], out_dtype=torch.float32)[0] - 1,
    ):
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.cpu(), expected)
    with pytest.raises(RuntimeError, match="out_dtype must be the same as input dtype or fp32"):
        torch.mm(x, y, out_dtype=torch.float64)


# --- operators for the CPU only
CPU_ONLY = {
    "histogram": (lambda d: torch.histogram(torch.ones(3, device=d), 2), "aten::histogram.bin_ct"),
    "histogramdd": (lambda d: torch.histogramdd(torch.ones(3, 2, device=d), [2, 2]), "aten::_histogramdd"),
    "to_mkldnn": (lambda d: torch.ones(3, device=d).to_mkldnn(), "aten::to_mkldnn"),
    "spdiags": (
        lambda d: torch.sparse.spdiags(torch.ones(1, 3, device=d), torch.zeros(1, dtype=torch.long, device=d), (3, 3)),
        "aten::_spdiags",
    ),
}


@pytest.mark.parametrize("name", CPU_ONLY)
def test_operators_for_the_cpu_only(name, device):
    """GIVEN an operator that CUDA lacks THEN the dispatcher's words, and CUDA's name in them."""
    operation, which = CPU_ONLY[name]
    with pytest.raises(NotImplementedError, match=f"Could not run '{which}.*' with arguments from the 'CUDA' backend"):
        operation(device)


# --- quantized tensors, and what is left of CUDA's own operators
QUANTIZED = {
    "per tensor": lambda d: torch.quantize_per_tensor(torch.ones(3, device=d), 0.1, 0, torch.qint8),
    "per channel": lambda d: torch.quantize_per_channel(
        torch.ones(2, 3, device=d), torch.ones(2, device=d), torch.zeros(2, device=d), 0, torch.qint8
    ),
    "dynamic": lambda d: torch.quantize_per_tensor_dynamic(torch.ones(3, device=d), torch.qint8, False),
    "moved": lambda d: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8).to(d),
    "made": lambda d: torch._empty_affine_quantized([3], scale=1.0, zero_point=0, dtype=torch.qint8, device=d),
    "of integers": lambda d: torch._make_per_tensor_quantized_tensor(integers(d, 3).to(torch.int8), 0.1, 0),
}


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_tensors_are_refused_in_one_sentence(name, device):
    """GIVEN each way to a quantized tensor on the device THEN one sentence that says what works."""
    with pytest.raises(NotSimulated, match="^quantized tensors are not simulated: quantize on the CPU, or train with"):
        QUANTIZED[name](device)


def test_fake_quantization_works(device):
    """GIVEN quantization-aware training's operator THEN the CPU's result and gradient."""
    x = torch.tensor([0.12, 5.0], device=device, requires_grad=True)
    y = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 10)
    y.sum().backward()
    assert y.tolist() == pytest.approx([0.1, 1.0]) and x.grad.tolist() == [1, 0]


def sample_call(schema):
    """Arguments that get as far as the dispatcher: one tensor for each, zeros and empties for the rest."""
    device, found = "simgpu", []
    for argument in schema.arguments:
        kind = str(argument.real_type if hasattr(argument, "real_type") else argument.type)
        if argument.default_value is not None or argument.kwarg_only:
            continue
        if kind == "Tensor":
            found.append(torch.ones(2, 2, device=device))
        elif kind.startswith(("List[Tensor", "List[Optional[Tensor")):
            found.append([torch.ones(2, 2, device=device)])
        elif kind.startswith("Optional"):
            found.append(None)
        elif kind.startswith("List"):
            found.append([1, 1])
        elif kind == "bool":
            found.append(False)
        elif kind == "str":
            found.append("none")
        elif kind == "float":
            found.append(0.5)
        else:
            found.append(1)
    return found


#: CUDA's operators that cannot be called with arguments made up like that.
NEEDS_MORE = {"record_stream": "a stream", "_cudnn_init_dropout_state": "a device"}


def test_each_of_cudas_own_operators_runs_or_says_so(device):
    """GIVEN every operator that lists a kernel for CUDA and none for the CPU THEN a kernel of ours, or one sentence.

    Made-up arguments may be refused for what they are, but never with the CPU named as the backend that lacks a kernel.
    """
    names = operator_table.with_kernel_for("CUDA") - operator_table.with_kernel_for("CPU")
    complaints = {}
    for name in sorted(names):
        short, _, overload = name.partition(".")
        packet = getattr(torch.ops.aten, short, None)
        operator = getattr(packet, overload or "default", None)
        if (
            operator is None
            or name in NEEDS_MORE
            or overload.endswith("out")
            or short.startswith(("miopen", "_foreach"))
        ):
            continue
        try:
            operator(*sample_call(operator._schema))
        except NotSimulated as error:
            assert "simulated GPU" in str(error)
        except Exception as error:  # noqa: BLE001 - anything but a word about a backend will do
            if "Could not run" in str(error) or "'CPU' backend" in str(error):
                complaints[name] = str(error)[:150]
    assert not complaints, complaints
