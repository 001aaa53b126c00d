"""What PyTorch's own tests expect of CUDA, beyond results (benchmarks/pytorch_tests.py runs them whole)."""

import gc
import warnings

import pytest
import torch

from autograder.errors import NotSimulated
from autograder.simgpu.cuda_shim import cuda_means_simgpu


@pytest.fixture
def cuda(device):
    with cuda_means_simgpu():
        yield torch.device("cuda", 0)


def test_a_storage_says_cuda(cuda):
    """Does a storage, typed or not, name the same device as its tensor, in words, classes and questions?"""
    tensor = torch.ones(3, device="cuda", dtype=torch.float64)
    for storage in (tensor.untyped_storage(), tensor.storage(), tensor.untyped_storage().clone()):
        assert storage.device == tensor.device == cuda and storage.is_cuda
        assert "device=cuda:0" in repr(storage)
    assert not torch.ones(3).untyped_storage().is_cuda
    assert tensor.storage_type() is torch.cuda.DoubleStorage
    assert tensor.storage().type() == "torch.cuda.DoubleStorage"


def test_cuda_s_handles_for_other_processes_are_refused_with_the_reason(cuda):
    """Is a storage elsewhere refused in PyTorch's words, and ours in a sentence that says what works?"""
    for storage in (torch.ones(2).untyped_storage(), torch.TypedStorage([1], device="meta", dtype=torch.int8)):
        with pytest.raises(RuntimeError, match="_share_cuda_: only available on CUDA"):
            storage._share_cuda_()
    with pytest.raises(NotSimulated, match=r"torch\.multiprocessing"):
        torch.ones(2, device="cuda").untyped_storage()._share_cuda_()


@pytest.mark.parametrize("spelling", ["cuda", "cuda:0"])
def test_autocast_understands_a_device_with_its_number(spelling, cuda):
    """torch.autocast("cuda:0") is allowed: does it change the type of results, and end with its block?"""
    weight = torch.ones(4, 4, device="cuda")
    with torch.autocast(device_type=spelling, dtype=torch.float16):
        assert (weight @ weight).dtype is torch.float16
        with torch.autocast(device_type=spelling, enabled=False):
            assert (weight @ weight).dtype is torch.float32
    assert (weight @ weight).dtype is torch.float32


def test_a_lazy_clone_lies_where_its_original_lies(device):
    """Do both sides of a lazy clone show one address of the device until one is written to?"""
    tensor = torch.arange(4.0, device=device)
    clone = tensor._lazy_clone()
    again = clone._lazy_clone()
    assert tensor.data_ptr() == clone.data_ptr() == again.data_ptr() >= 2**48
    assert torch._C._data_address(clone) == torch._C._data_address(tensor)
    address = tensor.data_ptr()
    clone.add_(1)
    assert clone.data_ptr() != address and clone.data_ptr() >= 2**48
    assert tensor.data_ptr() == again.data_ptr() == address
    assert again.tolist() == tensor.tolist() == [0, 1, 2, 3] and clone.tolist() == [1, 2, 3, 4]


def test_threads_of_a_kernel_may_not_give_a_lazy_clone_memory(device):
    """Is what C++ forbids inside at::parallel_for forbidden here, and only for shared memory?"""
    clone = torch.ones(4, device=device)._lazy_clone()
    with pytest.raises(RuntimeError, match="Materializing a storage"):
        torch._test_parallel_materialize(clone, 2, True)
    torch._test_parallel_materialize(clone, 1, True)
    torch._test_parallel_materialize(torch.ones(4, device=device), 2, False)


def test_a_default_tensor_type_on_cuda_lasts_until_the_next(cuda):
    """Do factories and printing follow the default type to the device and back?"""
    here = torch.ones(1)
    try:
        torch.set_default_tensor_type("torch.cuda.DoubleTensor")
        there = torch.ones(1)
        assert there.is_cuda and there.dtype is torch.float64
        assert str(there) == "tensor([1.])" and "device='cpu'" in str(here)
    finally:
        torch.set_default_tensor_type("torch.FloatTensor")
    assert not torch.ones(1).is_cuda and "cuda:0" in str(there) and str(here) == "tensor([1.])"


def test_a_default_device_survives_a_default_tensor_type_of_the_host(cuda):
    """Are the two choices kept apart, as on CUDA?"""
    try:
        torch.set_default_device("cuda")
        torch.set_default_tensor_type("torch.FloatTensor")
        assert torch.ones(1).is_cuda
    finally:
        torch.set_default_device(None)


def test_every_class_of_tensors_makes_tensors(cuda):
    """Does torch._tensor_classes, which scripts walk through, hold classes that work and say what they make?"""
    dense = [kind for kind in torch._tensor_classes if not kind.is_sparse and not kind.is_xpu]
    assert {kind.is_cuda for kind in dense} == {True, False}
    for kind in dense:
        tensor = kind([1, 0])
        assert (tensor.is_cuda, tensor.dtype) == (kind.is_cuda, kind.dtype)


def test_the_old_constructors_warn(cuda):
    """torch.cuda.FloatTensor([0]) is no longer recommended: does it say so (torch/csrc/tensor/python_tensor.cpp)?"""
    torch.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match=r"torch\.cuda\.\*DtypeTensor constructors are no longer recommended"):
            torch.cuda.FloatTensor([0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert isinstance(torch.ones(1, device="cuda"), torch.cuda.FloatTensor)
    finally:
        torch.set_warn_always(False)


MIXTURES = {
    "pointwise": lambda x: x + torch.ones(2),
    "a product": lambda x: torch.mm(x.view(2, 1), torch.ones(1, 2)),
    "a generator": lambda x: torch.rand(2, device="cuda", generator=torch.Generator()),
    "an index": lambda x: torch.cuda.synchronize("cpu"),
    "an LSTM": lambda x: torch.nn.LSTM(2, 2, device="cuda")(x[None], (torch.ones(1, 2), torch.ones(1, 2))),
    "foreach": lambda x: torch._foreach_add([x], torch.tensor(1.0), alpha=1.0),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_messages_call_the_device_as_the_script_does(name, cuda):
    """Does a refusal name cuda:0, never another device that the script has not heard of?"""
    with pytest.raises((RuntimeError, ValueError), match="cuda") as caught:
        MIXTURES[name](torch.ones(2, device="cuda"))
    assert "simgpu" not in str(caught.value)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_data_parallel_takes_inputs_from_everywhere(devices, home, device):
    """nn.DataParallel copies inputs of the host on streams of its own: does it, with one device and with two?"""
    with cuda_means_simgpu(devices=devices):
        model = torch.nn.DataParallel(torch.nn.Linear(4, 4).cuda())
        output = model(torch.ones(4, 4, device=home))
        output.sum().backward()
        assert output.device == torch.device("cuda", 0)
        assert model.module.weight.grad.tolist() == [[4.0] * 4] * 4
        del model, output
        gc.collect()


LAYOUTS = ("sparse_coo", "sparse_csr", "sparse_csc")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [torch.empty, torch.zeros], ids=["empty", "zeros"])
def test_factories_understand_cuda_in_every_layout(make, layout, cuda):
    """A layout chooses another of the dispatcher's keys: does each of CUDA's lead to the device?"""
    kind = getattr(torch, layout)
    tensor = make(2, 3, layout=kind, device="cuda")
    assert tensor.layout is kind and tensor.device == cuda and tensor.shape == (2, 3)
    if make is torch.zeros:
        assert tensor.to_dense().tolist() == [[0.0] * 3] * 2


def test_a_sparse_tensor_like_one_of_the_host(cuda):
    """Do sizes alone, and a model on the host, make sparse tensors on the device?"""
    assert torch.sparse_coo_tensor(size=(2, 2), device="cuda").device == cuda
    assert torch.zeros_like(torch.eye(2).to_sparse(), device="cuda").device == cuda


QUANTIZED = {
    "empty": lambda: torch.empty(2, dtype=torch.quint8, device="cuda"),
    "affine": lambda: torch._empty_affine_quantized([2], scale=1.0, zero_point=0, dtype=torch.quint8, device="cuda"),
    "moved": lambda: torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.quint8).cuda(),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_factories_are_refused_in_a_sentence(name, cuda):
    """Is the reason given for every way a quantized tensor would come to cuda?"""
    with pytest.raises(NotSimulated, match="quantized tensors are not simulated"):
        QUANTIZED[name]()
