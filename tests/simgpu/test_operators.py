"""Does every operator that PyTorch tests itself with give the same results and gradients as on the CPU?

The entries are torch.testing's op_db. ``operators.json`` lists the few that cannot pass, with the reason for each.
"""

import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.simgpu.comparing import as_leaves, assert_same, assert_same_gradients, scalar, to_device, trainable

pytest.importorskip("expecttest")
pytest.importorskip("hypothesis")

KNOWN = json.loads(Path(__file__).with_name("operators.json").read_text())
SHARDS = 12
MOST_SAMPLES = {torch.float32: 3, torch.complex64: 1, torch.float16: 1, torch.bfloat16: 1, torch.int64: 1}
MOST_SAMPLES_IN_THE_LONG_RUN = 100
UNINITIALISED = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
#: These return statistics beside their result, kept as CUDA's kernels keep them: see test_saved_like_cuda.py.
STATISTICS_LIKE_CUDA = {"native_batch_norm", "_native_batch_norm_legit", "native_layer_norm"}

#: Whether CUDA has these in bfloat16 the database asks a GPU.
ASKS_THE_GPU = {"addbmm", "bmm", "matmul", "nn.functional.bilinear", "__rmatmul__"}

TOLERANCE = {  # one rounding more or less
    torch.float16: {"rtol": 0.01, "atol": 0.005},
    torch.bfloat16: {"rtol": 0.05, "atol": 0.03},
}


def entries():
    from torch.testing._internal.common_methods_invocations import op_db

    return op_db


def key(entry):
    return f"{entry.name}.{entry.variant_test_name}" if entry.variant_test_name else entry.name


def is_eligible(entry, dtype):
    """Has the CPU a kernel for the type, and CUDA as well?"""
    if dtype is torch.bfloat16 and entry.name in ASKS_THE_GPU:
        return dtype in entry.supported_dtypes("cpu")
    return dtype in entry.supported_dtypes("cpu") & entry.supported_dtypes("cuda")


def samples(entry, dtype, differentiable, most):
    torch.manual_seed(1234)
    yield from islice(entry.sample_inputs("cpu", dtype, requires_grad=differentiable), most)


def on_device(entry, sample):
    """The sample's input, positional and named arguments, moved."""
    if entry.name == "tensor_split":  # the positions to split at stay on the CPU, on CUDA too
        return to_device(sample.input), sample.args, sample.kwargs
    return to_device((sample.input, sample.args, sample.kwargs))


def call(entry, inputs):
    torch.manual_seed(7)
    first, args, kwargs = inputs
    return entry(first, *args, **kwargs)


def check_sample(entry, sample, dtype, differentiable):
    """Forward and backward on both."""
    inputs = as_leaves((sample.input, sample.args, sample.kwargs))
    device_inputs = on_device(entry, sample)
    options = {"values": entry.name not in UNINITIALISED, **TOLERANCE.get(dtype, {})}
    expected, actual = call(entry, inputs), call(entry, device_inputs)
    if entry.name in STATISTICS_LIKE_CUDA:
        expected, actual = expected[:1], actual[:1]
    assert_same(expected, actual, "results", **options)
    if not differentiable:
        return
    expected = trainable(sample.output_process_fn_grad(expected))
    actual = trainable(sample.output_process_fn_grad(actual))
    if expected:
        assert_same_gradients(
            torch.autograd.grad(scalar(expected), trainable(inputs), allow_unused=True),
            torch.autograd.grad(scalar(actual), trainable(device_inputs), allow_unused=True),
            **options,
        )


def problem_with(entry, dtype, most=None):
    """What goes wrong with an entry in its first samples, or None."""
    differentiable = entry.supports_autograd and dtype in entry.supported_backward_dtypes("cpu")
    try:
        for sample in samples(entry, dtype, differentiable, most or MOST_SAMPLES[dtype]):
            check_sample(entry, sample, dtype, differentiable)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this entry's result
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def problems_in(shard, dtype, most=None):
    """What goes wrong with every twelfth entry, known failures left out."""
    known = KNOWN["known_failures"]
    problems = {}
    for entry in entries()[shard::SHARDS]:
        if is_eligible(entry, dtype) and key(entry) not in known:
            problem = problem_with(entry, dtype, most)
            if problem:
                problems[key(entry)] = problem
    return "\n".join(f"{name}: {problem}" for name, problem in problems.items())


@pytest.mark.parametrize("dtype", MOST_SAMPLES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("shard", range(SHARDS))
def test_operators_agree_with_the_cpu(shard, dtype, cpu_randomness):
    """GIVEN every twelfth entry WHEN run forward and backward THEN only the known ones differ."""
    problems = problems_in(shard, dtype)
    assert not problems, problems


@pytest.mark.slow
@pytest.mark.parametrize("dtype", MOST_SAMPLES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("shard", range(SHARDS))
def test_operators_agree_with_the_cpu_on_more_samples(shard, dtype, cpu_randomness):
    """The same, with up to a hundred samples per entry."""
    problems = problems_in(shard, dtype, MOST_SAMPLES_IN_THE_LONG_RUN)
    assert not problems, problems


@pytest.mark.parametrize("name", KNOWN["recorded_passes"])
def test_at_least_the_recorded_number_of_entries_pass(name):
    """Is the list of exceptions still as short as it was recorded?"""
    eligible = [key(entry) for entry in entries() if is_eligible(entry, getattr(torch, name))]
    passing = [entry for entry in eligible if entry not in KNOWN["known_failures"]]
    assert len(passing) >= KNOWN["recorded_passes"][name]


def test_known_failures_still_fail(cpu_randomness):
    """Is each exception still needed? One that passes must leave the list."""
    by_key = {key(entry): entry for entry in entries()}
    assert set(KNOWN["known_failures"]) <= set(by_key)
    passing = [name for name in KNOWN["known_failures"] if problem_with(by_key[name], torch.float32) is None]
    assert not passing
