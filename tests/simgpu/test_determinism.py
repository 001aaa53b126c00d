"""torch.use_deterministic_algorithms(True): what CUDA refuses, what it warns of, what it fills."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn


@pytest.fixture
def deterministic():
    """On for one test."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def backward(function, *shape):
    def run(device):
        x = torch.rand(shape, device=device, requires_grad=True)
        function(x).sum().backward()

    return run


def indices(device, *values):
    return torch.tensor(values, device=device)


def unpool(dimensions):
    def run(device):
        x = torch.zeros(1, 1, *[1] * dimensions, device=device)
        (F.max_unpool2d, F.max_unpool3d)[dimensions - 2](x, x.long(), 2)

    return run


def ctc(device):
    scores = torch.randn(5, 1, 3, device=device, requires_grad=True)
    F.ctc_loss(scores.log_softmax(2), torch.ones(1, 2, dtype=torch.long, device=device), [5], [2]).backward()


def bag(device):
    weight = torch.rand(4, 2, device=device, requires_grad=True)
    F.embedding_bag(indices(device, 0, 1), weight, indices(device, 0), mode="max").sum().backward()


aten = torch.ops.aten
# The name is the one CUDA gives; the sources are in autograder/simgpu/determinism.py.
REFUSED = {
    "adaptive_avg_pool2d_backward_cuda": backward(lambda x: F.adaptive_avg_pool2d(x, 3), 1, 3, 8, 8),
    "adaptive_avg_pool3d_backward_cuda": backward(lambda x: F.adaptive_avg_pool3d(x, 3), 1, 1, 8, 8, 8),
    "adaptive_max_pool2d_backward_cuda": backward(lambda x: F.adaptive_max_pool2d(x, 3), 1, 3, 8, 8),
    "avg_pool3d_backward_cuda": backward(lambda x: F.avg_pool3d(x, 2), 1, 1, 4, 4, 4),
    "max_pool3d_with_indices_backward_cuda": backward(lambda x: F.max_pool3d(x, 2), 1, 1, 4, 4, 4),
    "fractional_max_pool2d_backward_cuda": backward(lambda x: F.fractional_max_pool2d(x, 2, 3), 1, 1, 8, 8),
    "fractional_max_pool3d_backward_cuda": backward(lambda x: F.fractional_max_pool3d(x, 2, 3), 1, 1, 8, 8, 8),
    "max_unpooling2d_forward_out": unpool(2),
    "max_unpooling3d_forward_out": unpool(3),
    "upsample_linear1d_backward_out_cuda": backward(lambda x: F.interpolate(x, scale_factor=2, mode="linear"), 1, 1, 4),
    "upsample_bicubic2d_backward_out_cuda": backward(
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), 1, 1, 4, 4
    ),
    "upsample_bilinear2d_aa_backward_out_cuda": backward(
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True), 1, 1, 4, 4
    ),
    "upsample_bilinear2d_backward_out_cuda": backward(lambda x: aten.upsample_bilinear2d(x, [8, 8], False), 1, 1, 4, 4),
    "upsample_trilinear3d_backward_out_cuda": backward(
        lambda x: aten.upsample_trilinear3d(x, [8, 8, 8], False), 1, 1, 4, 4, 4
    ),
    "reflection_pad1d_backward_out_cuda": backward(lambda x: F.pad(x, (1, 1), mode="reflect"), 1, 2, 4),
    "reflection_pad2d_backward_cuda": backward(lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), 1, 2, 4, 4),
    "reflection_pad3d_backward_out_cuda": backward(lambda x: F.pad(x, (1,) * 6, mode="reflect"), 1, 1, 4, 4, 4),
    "replication_pad1d_backward_cuda": backward(lambda x: aten.replication_pad1d(x, [1, 1]), 1, 2, 4),
    "nll_loss2d_forward_out_cuda_template": lambda device: F.cross_entropy(
        torch.rand(1, 2, 3, 3, device=device), torch.zeros(1, 3, 3, dtype=torch.long, device=device)
    ),
    "ctc_loss_backward_gpu": ctc,
    "embedding_bag_backward_cuda_max": bag,
    "put_": lambda device: torch.zeros(4, device=device).put_(
        indices(device, 0, 1), torch.ones(2, device=device), accumulate=True
    ),
    "_histc_cuda with floating point input": lambda device: torch.histc(torch.rand(4, device=device)),
    "_bincount_cuda": lambda device: torch.bincount(indices(device, 0, 1), torch.ones(2, device=device)),
    "grid_sampler_2d_backward_cuda": backward(
        lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2, device=x.device), align_corners=False), 1, 1, 4, 4
    ),
    "grid_sampler_3d_backward_cuda": backward(
        lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2, 3, device=x.device), align_corners=False), 1, 1, 4, 4, 4
    ),
    "scatter_reduce_cuda_prod_": lambda device: torch.ones(4, device=device).scatter_reduce(
        0, indices(device, 0, 0), torch.ones(2, device=device), "prod"
    ),
    "scatter_reduce_cuda_kernel": lambda device: torch.ones(4, device=device).scatter(
        0, indices(device, 0, 0), torch.ones(2, device=device), reduce="multiply"
    ),
    "index_reduce_cuda": lambda device: torch.ones(4, device=device).index_reduce(
        0, indices(device, 0, 0), torch.ones(2, device=device), "amax"
    ),
    "median CUDA with indices output": lambda device: torch.rand(4, device=device).median(0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, device, deterministic):
    """GIVEN an operator without a deterministic kernel WHEN run THEN CUDA's words; warn_only warns; else it runs."""
    match = f"^{name} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms"
    with pytest.raises(RuntimeError, match=match):
        REFUSED[name](device)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match=match):
        REFUSED[name](device)
    torch.use_deterministic_algorithms(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The reduce argument of torch.scatter|scatter_reduce|index_reduce")
        REFUSED[name](device)


ALLOWED = {
    "sum of a scatter": lambda d: torch.ones(4, device=d).scatter_reduce(
        0, indices(d, 0, 0), torch.ones(2, device=d), "sum"
    ),
    "scatter_add": lambda d: torch.ones(4, device=d).scatter_add(0, indices(d, 0, 0), torch.ones(2, device=d)),
    "scatter": lambda d: torch.ones(4, device=d).scatter(0, indices(d, 0, 0), torch.ones(2, device=d)),
    "largest of a scatter": lambda d: torch.ones(4, device=d).scatter_reduce(
        0, indices(d, 0, 0), torch.ones(2, device=d), "amax"
    ),
    "index_add": lambda d: torch.ones(4, device=d).index_add(0, indices(d, 0, 0), torch.ones(2, device=d)),
    "cumsum (ScanUtils.cuh)": lambda d: torch.rand(4, device=d).cumsum(0),
    "median without a dimension": lambda d: torch.rand(4, device=d).median(),
    "histc of integers": lambda d: torch.histc(indices(d, 1, 2)),
    "bincount without weights": lambda d: torch.bincount(indices(d, 0, 1)),
    "kthvalue": lambda d: torch.rand(4, device=d).kthvalue(2),
    "pixel loss without a reduction": lambda d: F.cross_entropy(
        torch.rand(1, 2, 3, 3, device=d), torch.zeros(1, 3, 3, dtype=torch.long, device=d), reduction="none"
    ),
    "nn.ReplicationPad1d": backward(nn.ReplicationPad1d(1), 1, 2, 4),
    "nn.ReplicationPad3d": backward(nn.ReplicationPad3d(1), 1, 2, 4, 4, 4),
    "bilinear interpolation": backward(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 1, 1, 4, 4),
    "trilinear interpolation": backward(lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), 1, 1, 4, 4, 4),
    "nearest interpolation": backward(lambda x: F.interpolate(x, scale_factor=2), 1, 1, 4, 4),
    "max_pool2d": backward(lambda x: F.max_pool2d(x, 2), 1, 1, 4, 4),
    "avg_pool2d": backward(lambda x: F.avg_pool2d(x, 2), 1, 1, 4, 4),
    "conv2d": backward(lambda x: F.conv2d(x, torch.ones(1, 1, 3, 3, device=x.device)), 1, 1, 4, 4),
    "indexing": backward(lambda x: x[indices(x.device, 0, 0)], 4, 2),
    "gather": backward(lambda x: x.gather(0, indices(x.device, 0, 0)), 4),
    "embedding": backward(lambda x: F.embedding(indices(x.device, 0, 0), x), 4, 2),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name, device, deterministic):
    """GIVEN an operator with a deterministic kernel, or a path around the other one THEN it runs without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "scatter_reduce")
        ALLOWED[name](device)


def filled(tensor) -> bool:
    tensor = tensor.cpu()
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return bool(tensor.isnan().all())
    return bool((tensor == (True if tensor.dtype is torch.bool else torch.iinfo(tensor.dtype).max)).all())


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.int64, torch.uint8, torch.bool]
)
def test_memory_is_filled(dtype, device, deterministic):
    """GIVEN new memory that nothing was written to THEN NaN, the largest integer or True; what was there stays."""
    options = {"dtype": dtype, "device": device}
    x = torch.zeros(2, **options)
    for made in (
        torch.empty(3, **options),
        torch.empty_strided((2, 3), (3, 1), **options),
        torch.empty_permuted((2, 3), (1, 0), **options),
        torch.empty_like(x),
        x.new_empty(3),
        torch.zeros(2, **options).resize_(5)[2:],
        torch.empty(0, **options).resize_(4),
        torch.zeros(2, 2, **options)[1].resize_(4)[2:],
    ):
        assert filled(made)
    assert not torch.zeros(2, **options).resize_(5)[:2].any()
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        assert not filled(torch.zeros(2, **options).resize_(5)[2:])
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = True


def test_products_ask_for_no_workspace_setting(device, deterministic, monkeypatch):
    """GIVEN no CUBLAS_WORKSPACE_CONFIG THEN a product runs: since alertCuBLASConfigNotDeterministic is gone."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    x = torch.ones(2, 2, device=device)
    assert (x @ x).sum().item() == 8
