"""Calls each kernel of ours that PyTorch's test databases do not reach with nothing in it; for a process of its own.

python -m tests.simgpu.empty_kernels LOG notes the name of each kernel in LOG before it is called.
"""

import sys

import torch

DEVICE = "simgpu"
aten = torch.ops.aten


def none(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype, device=DEVICE)


def one(*shape):
    return torch.ones(shape, device=DEVICE)


def recurrent(kind, packed):
    """A recurrent network of no batch, called by its operator."""
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    states = (none(1, 0, 2),) * 2 if kind == "lstm" else none(1, 0, 2)
    weights = [one(gates * 2, 3), one(gates * 2, 2), one(gates * 2), one(gates * 2)]
    if packed:
        sizes = torch.zeros(0, dtype=torch.int64)
        return getattr(torch, kind)(none(0, 3), sizes, states, weights, True, 1, 0.0, False, False)
    return getattr(torch, kind)(none(5, 0, 3), states, weights, True, 1, 0.0, False, False, False)


def encoder_layer(rows):
    x = none(rows, 4, 8)
    weights = one(24, 8), one(24), one(8, 8), one(8)
    norms = one(8), one(8), one(8), one(8)
    return aten._transformer_encoder_layer_fwd(
        x, 8, 2, *weights, False, False, 1e-5, *norms, one(16, 8), one(16), one(8, 16), one(8)
    )


#: Kernels whose CPU twins op_db or module_db run on empty tensors, or that take no tensor.
SWEPT = {
    "_efficientzerotensor", "_nested_tensor_from_mask_left_aligned", "_pin_memory", "_reshape_alias", "_to_copy",
    "as_strided", "convolution_backward_overrideable", "convolution_overrideable", "copy_", "embedding_dense_backward",
    "empty.memory_format", "empty_strided", "is_pinned", "native_group_norm", "native_layer_norm",
    "native_layer_norm_backward", "pad", "resize_", "rms_norm", "scaled_dot_product_attention", "unfold", "view",
    "view_as_complex", "view_as_real", "native_batch_norm_backward", "_empty_affine_quantized",
    "_empty_per_channel_affine_quantized",
}  # fmt: skip
CALLS = {
    "_copy_from": lambda: aten._copy_from(none(0), none(0)),
    "_copy_from_and_resize": lambda: aten._copy_from_and_resize(none(0), none(3)),
    "_lazy_clone": lambda: none(0)._lazy_clone().add_(1),
    "_local_scalar_dense": lambda: aten._local_scalar_dense(none(0)),
    "_masked_scale": lambda: aten._masked_scale(none(0, 3), none(0, 3, dtype=torch.bool), 2.0),
    "_nested_view_from_buffer": lambda: aten._nested_view_from_buffer(
        none(0), *(torch.zeros(shape, dtype=torch.int64) for shape in ((0, 1), (0, 1), (0,)))
    ),
    "_test_parallel_materialize": lambda: torch._test_parallel_materialize(none(0), 2),
    "_native_batch_norm_legit": lambda: aten._native_batch_norm_legit(
        none(0, 3, 2), None, None, one(3), one(3), True, 0.1, 1e-5
    ),
    "_native_batch_norm_legit.no_stats": lambda: aten._native_batch_norm_legit.no_stats(
        none(0, 3, 2), None, None, True, 0.1, 1e-5
    ),
    "native_batch_norm": lambda: torch.native_batch_norm(none(0, 3), None, None, None, None, True, 0.1, 1e-5),
    "_native_multi_head_attention": lambda: aten._native_multi_head_attention(
        *(none(0, 4, 8),) * 3, 8, 2, one(24, 8), one(24), one(8, 8), one(8)
    ),
    "_transform_bias_rescale_qkv": lambda: aten._transform_bias_rescale_qkv(none(0, 4, 24), one(24), 2),
    "_transformer_encoder_layer_fwd": lambda: encoder_layer(0),
    "_thnn_fused_lstm_cell": lambda: aten._thnn_fused_lstm_cell(none(0, 8), none(0, 8), none(0, 2)),
    "_thnn_fused_lstm_cell_backward_impl": lambda: aten._thnn_fused_lstm_cell_backward_impl(
        *(none(0, 2),) * 4, none(0, 8), True
    ),
    "_thnn_fused_gru_cell": lambda: aten._thnn_fused_gru_cell(none(0, 6), none(0, 6), none(0, 2)),
    "_thnn_fused_gru_cell_backward": lambda: aten._thnn_fused_gru_cell_backward(none(0, 2), none(0, 10), True),
    "mm.dtype": lambda: torch.mm(none(0, 2).half(), one(2, 3).half(), out_dtype=torch.float32),
    "bmm.dtype": lambda: torch.bmm(none(0, 2, 2).half(), none(0, 2, 2).half(), out_dtype=torch.float32),
    "addmm.dtype": lambda: torch.addmm(one(3), none(0, 2).half(), one(2, 3).half(), out_dtype=torch.float32),
    "baddbmm.dtype": lambda: torch.baddbmm(*(none(0, 2, 2).half(),) * 3, out_dtype=torch.float32),
    "batch_norm_stats": lambda: aten.batch_norm_stats(none(0, 3, 2), 1e-5),
    "batch_norm_elemt": lambda: aten.batch_norm_elemt(none(0, 3, 2), None, None, one(3), one(3), 1e-5),
    "batch_norm_gather_stats": lambda: aten.batch_norm_gather_stats(
        none(0, 3), none(0, 3), none(0, 3), None, None, 0.1, 1e-5, 0
    ),
    "batch_norm_gather_stats_with_counts": lambda: aten.batch_norm_gather_stats_with_counts(
        none(0, 3), none(0, 3), none(0, 3), None, None, 0.1, 1e-5, none(0)
    ),
    "batch_norm_backward_reduce": lambda: aten.batch_norm_backward_reduce(
        none(0, 3), none(0, 3), one(3), one(3), None, True, True, True
    ),
    "batch_norm_backward_elemt": lambda: aten.batch_norm_backward_elemt(
        none(0, 3), none(0, 3), one(3), one(3), None, one(3), one(3), none(0, dtype=torch.int32)
    ),
    "record_stream": lambda: none(0).record_stream(torch.simgpu.current_stream()),
    "set_": lambda: none(0).set_(),
    "set_.source_Storage": lambda: none(2).set_(none(0).untyped_storage()),
    "set_.source_Storage_storage_offset": lambda: none(2).set_(none(0).untyped_storage(), 0, (0,), (1,)),
    "set_.source_Tensor": lambda: none(2).set_(none(0)),
    "quantize_per_tensor": lambda: aten.quantize_per_tensor(none(0), 0.1, 0, torch.qint8),
    "quantize_per_tensor.tensor_qparams": lambda: aten.quantize_per_tensor(none(0), one(1), none(1), torch.qint8),
    "quantize_per_tensor.tensors": lambda: aten.quantize_per_tensor.tensors([none(0)], one(1), none(1), torch.qint8),
    "quantize_per_tensor_dynamic": lambda: aten.quantize_per_tensor_dynamic(none(0), torch.qint8, False),
    "quantize_per_channel": lambda: aten.quantize_per_channel(none(0, 2), none(0), none(0), 0, torch.qint8),
    "_make_per_tensor_quantized_tensor": lambda: aten._make_per_tensor_quantized_tensor(none(0), 0.1, 0),
    "_make_per_channel_quantized_tensor": lambda: aten._make_per_channel_quantized_tensor(
        none(0, 2), none(0), none(0), 0
    ),
    **{
        f"{kind}.{form}": lambda kind=kind, form=form: recurrent(kind, form == "data")
        for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")
        for form in ("input", "data")
    },
}


def main(log):
    from autograder import simgpu

    simgpu.enable()
    for name, call in CALLS.items():
        with open(log, "w", encoding="utf-8") as note:
            note.write(name)
        try:
            call()
        except (RuntimeError, IndexError, ValueError):
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
