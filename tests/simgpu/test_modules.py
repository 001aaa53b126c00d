"""Does every module that PyTorch tests itself with train and evaluate as on the CPU? (torch.testing's module_db)"""

import copy

import pytest
import torch
from torch.utils._pytree import tree_map

from tests.simgpu.comparing import assert_same, assert_same_gradients, scalar, tensors, to_device, trainable
from tests.simgpu.conftest import DEVICE

pytest.importorskip("expecttest")
pytest.importorskip("hypothesis")

SHARDS = 6
RECORDED_CLASSES = 114
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def entries():
    from torch.testing._internal.common_modules import module_db

    return module_db


def fresh(tree):
    """A copy of the inputs, so that one run cannot change the other's."""
    return tree_map(
        lambda leaf: (
            leaf.detach().clone().requires_grad_(leaf.requires_grad) if isinstance(leaf, torch.Tensor) else leaf
        ),
        tree,
    )


def run(module, inputs):
    """Forward and backward; returns (results, gradients of parameters and inputs)."""
    args, kwargs = inputs
    torch.manual_seed(1)
    results = module(*args, **kwargs)
    differentiable = trainable(results)
    if differentiable:
        sum(scalar(differentiable)).backward()
    grads = [parameter.grad for parameter in module.parameters()]
    return tensors(results), grads + [tensor.grad for tensor in trainable(inputs)]


def check_sample(module_class, sample, training):
    torch.manual_seed(0)
    module = module_class(*sample.constructor_input.args, **sample.constructor_input.kwargs)
    module = module.to(torch.float32).train(training)
    device_module = copy.deepcopy(module).to(DEVICE)
    inputs = fresh((sample.forward_input.args, sample.forward_input.kwargs))
    device_inputs = to_device(inputs)
    expected, expected_grads = run(module, inputs)
    with torch.backends.cudnn.flags(enabled=training):  # cuDNN has no backward of an RNN in evaluation, here as there
        actual, actual_grads = run(device_module, device_inputs)
    assert all(tensor.device == DEVICE for tensor in actual), "a result is not on the device"
    assert_same(expected, actual, "results", **TOLERANCE)
    assert_same_gradients(expected_grads, actual_grads, **TOLERANCE)


def check(entry, training) -> int:
    """How many samples of an entry were compared."""
    samples = entry.module_inputs_func(entry, device="cpu", dtype=torch.float32, requires_grad=True, training=training)
    samples = [sample for sample in samples if sample.forward_input is not None][:3]
    for sample in samples:
        check_sample(entry.module_cls, sample, training)
    return len(samples)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shard", range(SHARDS))
def test_modules_agree_with_the_cpu(shard, training, cpu_randomness):
    """GIVEN every sixth module class WHEN run forward and backward THEN all agree, none excepted."""
    problems = {}
    for entry in entries()[shard::SHARDS]:
        try:
            assert check(entry, training), "no samples"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this entry's result
            problems[entry.name] = f"{type(error).__name__}: {str(error)[:300]}"
    assert not problems, "\n".join(f"{name}: {problem}" for name, problem in problems.items())


def test_no_class_went_missing():
    """Does PyTorch still list as many classes as when this was written?"""
    assert len(entries()) >= RECORDED_CLASSES
