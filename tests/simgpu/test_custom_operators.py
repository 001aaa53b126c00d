"""Do operators that a program writes itself run on the device as on CUDA?"""

import pytest
import torch

from autograder.simgpu.cuda_shim import cuda_means_simgpu


@pytest.fixture
def cuda(device):
    with cuda_means_simgpu():
        yield


def test_a_kernel_for_cuda_gets_device_tensors_and_differentiates(cuda):
    seen = []

    @torch.library.custom_op("autograder_tests::double", mutates_args=(), device_types="cuda")
    def double(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.device.type)
        return x * 2

    double.register_autograd(lambda ctx, gradient: gradient * 2, setup_context=lambda ctx, inputs, output: None)
    x = torch.ones(3, device="cuda", requires_grad=True)
    double(x).sum().backward()
    assert seen == ["cuda"] and x.grad.tolist() == [2, 2, 2]


def test_the_kernel_for_cuda_comes_before_the_one_for_every_device(cuda):
    @torch.library.custom_op("autograder_tests::increase", mutates_args={"x"})
    def increase(x: torch.Tensor) -> None:
        x.add_(1)

    @increase.register_kernel("cuda")
    def _(x):
        x.add_(10)

    there, here = torch.zeros(2, device="cuda"), torch.zeros(2)
    increase(there)
    increase(here)
    assert there.tolist() == [10, 10] and here.tolist() == [1, 1]


def test_a_library_made_for_cuda_serves_the_device(cuda):
    library = torch.library.Library("autograder_tests_library", "DEF")
    library.define("triple(Tensor x) -> Tensor")
    of_cuda = torch.library.Library("autograder_tests_library", "IMPL", "CUDA")
    of_cuda.impl("triple", lambda x: x * 3)
    try:
        assert torch.ops.autograder_tests_library.triple(torch.ones(2, device="cuda")).tolist() == [3, 3]
    finally:
        of_cuda._destroy()
        library._destroy()


def test_an_operator_for_the_cpu_alone_is_refused(device):
    @torch.library.custom_op("autograder_tests::on_host", mutates_args=(), device_types="cpu")
    def on_host(x: torch.Tensor) -> torch.Tensor:
        return x * 1

    assert on_host(torch.ones(1)).item() == 1
    with pytest.raises(NotImplementedError, match="Could not run 'autograder_tests::on_host'.*Register one for cuda"):
        on_host(torch.ones(1, device=device))
