"""Is what CUDA refuses of operands on the CPU beside others on the device refused, in its words, and nothing else?"""

import warnings
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from tests.simgpu.comparing import to_device

SHARDS = 4
MOST_SAMPLES = 3
#: What CUDA takes with an operand on the CPU: the operator, and why.
ACCEPTED = {
    **dict.fromkeys(("broadcast_tensors", "expand_as", "reshape_as", "view_as", "atleast_1d", "atleast_2d", "atleast_3d"),
                    "views of each; only sizes are read"),
    **dict.fromkeys(("as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter"),
                    "a clone and copy_, which crosses (native/TensorShape.cpp)"),
    **dict.fromkeys(("_unsafe_masked_index", "_unsafe_masked_index_put_accumulate", "index_put"),
                    "indices may be the CPU's (TensorAdvancedIndexing.cpp)"),
    "resize_as_": "only sizes are read",
    "narrow": "the start is read by the host",
    "tensor_split": "positions to split at must be the CPU's (native/TensorShape.cpp)",
    "nn.functional.ctc_loss": "targets follow log_probs (ctc_loss in native/LossCTC.cpp)",
    "nn.functional.bilinear": "samples without elements: no operator is reached",
    "nn.functional.batch_norm": "samples without elements: made of views (native/Normalization.cpp)",
    "linalg.pinv": "samples without elements: the tolerance is not read",
}  # fmt: skip
WORDS = (
    "on the same device", "same device", "should be the same", "either on cpu", "DeviceType", "expected device", "to be on cpu",
    "Device, but got",
)  # fmt: skip


def mixtures(entry, dtype):
    """(sample with one operand of one or more dimensions left on the CPU, its position)."""
    for sample in islice(entry.sample_inputs("cpu", dtype), MOST_SAMPLES):
        leaves, spec = tree_flatten((sample.input, sample.args, sample.kwargs))
        dense = [k for k, x in enumerate(leaves) if isinstance(x, torch.Tensor) and x.layout is torch.strided]
        for left in dense if len(dense) > 1 else []:
            if leaves[left].dim():
                yield tree_unflatten([x if k == left else to_device(x) for k, x in enumerate(leaves)], spec), left


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_operator(shard):
    """GIVEN each sample of op_db with one tensor left on the CPU THEN RuntimeError about devices, but for those listed."""
    pytest.importorskip("expecttest")
    from torch.testing._internal.common_methods_invocations import op_db

    wrong = {}
    for entry in op_db[shard::SHARDS]:
        dtype = torch.float32 if torch.float32 in entry.supported_dtypes("cpu") else torch.int64
        if dtype not in entry.supported_dtypes("cpu") & entry.supported_dtypes("cuda") or "jiterator" in entry.name:
            continue
        for (first, args, kwargs), left in mixtures(entry, dtype):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    entry(first, *args, **kwargs)
            except RuntimeError as error:
                if not any(words in str(error) for words in WORDS):
                    wrong[entry.name] = f"operand {left}: {str(error)[:150]}"
            else:
                if entry.name not in ACCEPTED:
                    wrong[entry.name] = f"operand {left}: accepted"
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def on_cpu(*shape):
    return torch.ones(shape)


FOUND_TWO = "^Expected all tensors to be on the same device, but found at least two devices, simgpu:0 and cpu!$"


def wrapper(argument, operator, on="cpu", others="simgpu:0"):
    return (
        f"^Expected all tensors to be on the same device, but got {argument} is on {on}, different from other tensors on "
        rf"{others} \(when checking argument in method wrapper_CUDA_{operator}\)$"
    )


def rnn(found, name, where):
    return rf"^Input and {name} tensors are not at the same device, found input tensor at {found} and {name} tensor at {where}$"


WORDING = {
    "pointwise": (lambda x: x + on_cpu(2, 2), FOUND_TWO),
    "product": (lambda x: x @ on_cpu(2, 2), wrapper("mat2", "mm")),
    "a number's tensor in a product": (lambda x: torch.addmm(torch.tensor(1.0), x, x),
                                       wrapper("mat1", "addmm", "simgpu:0", "cpu")),
    "a number's tensor in a list": (lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]), wrapper("tensors", "cat")),
    "index_put_": (lambda x: x.index_put_((torch.tensor([0]),), on_cpu(1, 2)), FOUND_TWO),
    "assignment by index": (lambda x: x.__setitem__(torch.tensor([0, 1]), on_cpu(2, 2)), FOUND_TWO),
    "assignment by mask": (lambda x: x.__setitem__(x > 0, on_cpu(4)), FOUND_TWO),
    "accumulating put": (lambda x: x.index_put_((torch.tensor([0]),), on_cpu(1, 2), accumulate=True),
                         "^expected device simgpu:0 but got device cpu for value tensor$"),
    "index of a CPU tensor": (lambda x: on_cpu(2, 2)[x.long()],
                              r"^indices should be either on cpu or on the same device as the indexed tensor \(cpu\)$"),
    "segment_reduce": (lambda x: torch.segment_reduce(x[0], "sum", lengths=torch.tensor([2])), 
                       wrapper("lengths", "segment_reduce")),
    "linear": (lambda x: nn.Linear(2, 2)(x), "on the same device"),
    "convolution": (lambda x: F.conv1d(x[None], on_cpu(1, 2, 1)), "^Input type .* and weight type .* should be the same"),
    "layer norm": (lambda x: F.layer_norm(x, (2,), on_cpu(2)), wrapper("weight", "native_layer_norm")),
    "batch norm": (lambda x: F.batch_norm(x, on_cpu(2), on_cpu(2)), "on the same device"),
    "embedding": (lambda x: F.embedding(torch.tensor([0]), x), "on the same device"),
    "cross entropy": (lambda x: F.cross_entropy(x, torch.tensor([0, 1])), wrapper("target", "nll_loss_forward")),
    "model on the CPU": (lambda x: nn.LSTM(2, 4)(x[None]), rnn("simgpu:0", "parameter", "cpu")),
    "input on the CPU": (lambda x: nn.GRU(2, 4).to(x.device)(on_cpu(1, 2, 2)),
                         "^Input and (hidden|parameter) tensors are not at the same device, found input tensor at cpu and"),
    "state on the CPU": (lambda x: nn.LSTM(2, 4).to(x.device)(x[None], (on_cpu(1, 2, 4),) * 2),
                         rnn("simgpu:0", "hidden", "cpu")),
    "state of a GRU": (lambda x: nn.GRU(2, 4).to(x.device)(x[None], on_cpu(1, 2, 4)), rnn("simgpu:0", "hidden", "cpu")),
    "cell": (lambda x: nn.LSTMCell(2, 4).to(x.device)(x, (on_cpu(2, 4),) * 2), "on the same device"),
    "attention": (lambda x: F.scaled_dot_product_attention(x[None, None], on_cpu(1, 1, 2, 2), on_cpu(1, 1, 2, 2)),
                  ("^Expected query, key, and value to have the same device type, but got query.device: simgpu:0 "
                  "key.device: cpu and value.device: cpu instead.$")),
    "attention of mixed types": (lambda x: F.scaled_dot_product_attention(x[None, None], *[x[None, None].half()] * 2),
                                 ("^Expected query, key, and value to have the same dtype, but got query.dtype: float key.dtype: "
                                 "c10::Half and value.dtype: c10::Half instead.$")),
    "mask of attention": (lambda x: F.scaled_dot_product_attention(*[x.repeat(1, 1, 2, 2)] * 3, attn_mask=on_cpu(4, 4)),
                          "on the same device"),
    "foreach": (lambda x: torch._foreach_add([x], [on_cpu(2, 2)]), "on the same device"),
    "foreach's scalars": (lambda x: torch._foreach_addcmul([x], [x], [x], x[0]),
                          "^Expected scalars to be on CPU, got simgpu:0 instead.$"),
    "set_": (lambda x: x.set_(on_cpu(2, 2)),
             "^Attempted to set the storage of a tensor on device \"simgpu:0\" to a storage on different device \"cpu\""),
    "out=": (lambda x: torch.add(x, x, out=on_cpu(2, 2)), "on the same device|Expected out tensor"),
}  # fmt: skip


@pytest.mark.parametrize("without_cudnn", [False, True])
@pytest.mark.parametrize("name", WORDING)
def test_the_words(name, without_cudnn, device):
    """Which words does each kind of mixture get?"""
    operation, match = WORDING[name]
    with torch.backends.cudnn.flags(enabled=not without_cudnn), pytest.raises(RuntimeError, match=match):
        operation(torch.ones(2, 2, device=device))


TAKEN = {
    "a number's tensor in arithmetic": lambda x: x * torch.tensor(2.0),
    "a number's tensor where": lambda x: torch.where(x > 0, x, torch.tensor(0.0)),
    "a number's tensor as the value": lambda x: x.index_put_((torch.tensor([0]),), torch.tensor(3.0)),
    "one element for a mask": lambda x: x.__setitem__(x > 0, torch.tensor([3.0])),
    "indices": lambda x: x[torch.tensor([0, 1])],
    "copy_": lambda x: x.copy_(on_cpu(2, 2)),
    "assignment by slice": lambda x: x.__setitem__(slice(0, 1), on_cpu(1, 2)),
    "foreach's scalars": lambda x: torch._foreach_addcdiv([x], [x], [x], torch.tensor([2.0])),
    "foreach with a tensor of one number": lambda x: torch._foreach_mul([x], torch.tensor(2.0)),
    "lengths of sequences": lambda x: nn.utils.rnn.pack_padded_sequence(x, torch.tensor([2, 1])),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name, device):
    """GIVEN mixtures that CUDA takes THEN they run."""
    TAKEN[name](torch.ones(2, 2, device=device))


@pytest.mark.parametrize("in_place", [False, True])
def test_of_addcmul_s_operands_only_the_last_may_be_a_number_of_the_host(in_place, device):
    """Are the words CUDA's (addcmul_cuda_kernel, ATen/native/cuda/PointwiseOpsKernel.cu), and does the last one work?"""
    there, number = torch.ones(2, 2, device=device), torch.tensor(3.0)
    with pytest.raises(RuntimeError, match="CPU Scalar support for tensor1 argument .* swap your tensor1 and tensor2"):
        there.addcmul_(number, there) if in_place else torch.addcmul(there, number, there)
    with pytest.raises(RuntimeError, match="same device"):
        torch.addcmul(there, there, torch.ones(2, 2))
    with pytest.raises(RuntimeError, match="CPU Scalar support for self argument"):
        torch.addcmul(number, there, there)
    result = there.clone().addcmul_(there, number) if in_place else torch.addcmul(there, there, number)
    assert result.tolist() == [[4, 4], [4, 4]]
