"""Runs operators and modules on tensors with an empty dimension, on the CPU and on the device; for a process of its own.

python -m tests.simgpu.empty_samples operators|modules SHARD SHARDS LOG [NAME ...] prints what differs as JSON. Each run is noted in
LOG before it starts, so that a process that dies tells where. Some kill PyTorch's CPU kernels: the caller passes such a
name on as an argument, starts again, and then only the device has to live through it.
"""

import json
import sys
import warnings
from itertools import islice

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from tests.simgpu.comparing import as_leaves, scalar, tensors, to_device, trainable

MOST_SAMPLES = 2
#: The device is not to agree with the CPU here.
UNLIKE_CPU = {
    ("sparse.mm", "reduce"): "PyTorch has it for the CPU only",
    ("nn.functional.pixel_shuffle", ""): "CUDA's is made of views, which take what the CPU's kernel refuses",
    ("nn.functional.pixel_unshuffle", ""): "CUDA's is made of views, which take what the CPU's kernel refuses",
}
#: These only have to live: they return statistics as CUDA keeps them, see test_saved_like_cuda.py.
STATISTICS = {"native_batch_norm", "_native_batch_norm_legit", "native_layer_norm"}


def emptied(tree):
    """Copies of a structure in which every tensor's dimensions of one length are cut to nothing."""
    leaves, spec = tree_flatten(tree)
    shapes = [leaf.shape for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided]
    for length in sorted({length for shape in shapes for length in shape if length > 1})[:3]:
        yield length, tree_unflatten([_cut(leaf, length) for leaf in leaves], spec)


def _cut(leaf, length):
    if not isinstance(leaf, torch.Tensor) or leaf.layout is not torch.strided or length not in leaf.shape:
        return leaf
    shape = [0 if size == length else size for size in leaf.shape]
    return torch.empty(shape, dtype=leaf.dtype, requires_grad=leaf.requires_grad)


def outcome(function, inputs):
    """Shapes and types of results and gradients, or the kind of error."""
    torch.manual_seed(0)
    try:
        results = function(inputs)
        found = [(tuple(t.shape), str(t.dtype)) for t in tensors(results)]
        outputs = [t for t in trainable(results) if t.is_floating_point()]
        wanted = trainable(inputs)
        if outputs and wanted:
            grads = torch.autograd.grad(scalar(outputs), wanted, allow_unused=True)
            found += [None if grad is None else tuple(grad.shape) for grad in grads]
        return found
    except (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError, AssertionError):
        return "refused"


def operators(shard, shards):
    from torch.testing._internal.common_methods_invocations import op_db

    for entry in op_db[shard::shards]:
        dtype = torch.float32 if torch.float32 in entry.supported_dtypes("cpu") else torch.int64
        if (entry.name, entry.variant_test_name) in UNLIKE_CPU:
            continue
        if dtype not in entry.supported_dtypes("cpu") or dtype not in entry.supported_dtypes("cuda"):
            continue
        differentiable = entry.supports_autograd and dtype in entry.supported_backward_dtypes("cpu")
        for number, sample in enumerate(
            islice(entry.sample_inputs("cpu", dtype, requires_grad=differentiable), MOST_SAMPLES)
        ):
            for length, inputs in emptied((sample.input, sample.args, sample.kwargs)):

                def call(given, entry=entry):
                    first, args, kwargs = given
                    return entry(first, *args, **kwargs)

                yield f"{entry.name}.{entry.variant_test_name} {number} {length}", call, call, as_leaves(inputs)


def modules(shard, shards):
    from torch.testing._internal.common_modules import module_db

    for entry in module_db[shard::shards]:
        for training in (True, False):
            samples = entry.module_inputs_func(
                entry, device="cpu", dtype=torch.float32, requires_grad=True, training=training
            )
            for number, sample in enumerate(islice((s for s in samples if s.forward_input is not None), MOST_SAMPLES)):
                torch.manual_seed(0)
                module = entry.module_cls(*sample.constructor_input.args, **sample.constructor_input.kwargs)
                module = module.train(training)
                state = module.state_dict()
                twin = entry.module_cls(*sample.constructor_input.args, **sample.constructor_input.kwargs)
                twin.load_state_dict(state)
                twin = twin.to("simgpu").train(training)
                for length, inputs in emptied((sample.forward_input.args, sample.forward_input.kwargs)):
                    what = f"{entry.name} {'train' if training else 'eval'} {number} {length}"
                    for without in (False, True):

                        def call(given, module=module, without=without):
                            with torch.set_grad_enabled(not without):
                                return module(*given[0], **given[1])

                        def twin_call(given, module=twin, without=without):
                            with torch.set_grad_enabled(not without):
                                return module(*given[0], **given[1])

                        yield f"{what} {'no_grad' if without else 'grad'}", call, twin_call, as_leaves(inputs)


def main(which, shard, shards, log, *deadly_on_cpu):
    from autograder import simgpu

    simgpu.enable()
    warnings.simplefilter("ignore")
    different = {}
    for what, on_cpu, on_device, inputs in {"operators": operators, "modules": modules}[which](int(shard), int(shards)):
        expected = None
        if what not in deadly_on_cpu:
            with open(log, "w", encoding="utf-8") as note:
                note.write(f"cpu {what}")
            expected = outcome(on_cpu, inputs)
        with open(log, "w", encoding="utf-8") as note:
            note.write(f"device {what}")
        moved = to_device(inputs)
        if what.startswith("tensor_split"):  # the positions to split at stay on the CPU, on CUDA too
            moved = moved[0], *inputs[1:]
        with torch.backends.cudnn.flags(enabled="eval" not in what):  # cuDNN: no backward of an RNN in evaluation
            actual = outcome(on_device, moved)
        if expected is not None and what.split(".")[0] not in STATISTICS and actual != expected:
            different[what] = f"{actual} instead of {expected}"
    print(json.dumps(different))


if __name__ == "__main__":
    main(*sys.argv[1:])
