"""nn.LSTM, nn.GRU and nn.RNN as cuDNN runs them: one operator for all time steps, one node in the graph.

PyTorch would unroll them for an extra device, as it does for CUDA without cuDNN: one cell per time step, with every
gate kept. cuDNN keeps the input, the output, the first states and one "reserve" buffer. ``use_cudnn`` says when it is
used; otherwise PyTorch's own composite runs over the fused cells in rnn_cells.py.

Sources: ATen/native/RNN.cpp (the choice), ATen/native/cudnn/RNN.cpp (what is allocated), cudnn/AutocastRNN.cpp.
"""

from __future__ import annotations

import warnings

import torch

from autograder.simgpu import compat, randomness, workspaces
from autograder.simgpu.devices import said
from autograder.simgpu.registry import kernel
from autograder.simgpu.storage import unwrap, wrap

_ACCEPTED = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_KEPT_PER_CELL = {"lstm": 5, "gru": 6, "rnn_tanh": 1, "rnn_relu": 1}
_MASKS_HEAD = 256
# kCudnnDoubleBackwardMsg (torch/csrc/autograd/FunctionsManual.cpp), which derivatives.yaml gives _cudnn_rnn_backward.
_ONCE = (
    "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not supported for CuDNN RNNs due to "
    "limitations in the CuDNN API. To run double backwards, please disable the CuDNN backend temporarily while running the "
    "forward pass of your RNN. For example: \nwith torch.backends.cudnn.flags(enabled=False):\n    output = model(inputs)"
)
_EVALUATED = "cudnn RNN backward can only be called in training mode"


def reserve_size(
    kind: str, cells: int, hidden: int, layers: int, directions: int, between: int, itemsize: int, dropout: bool = False
) -> int:
    """Bytes that cuDNN keeps from forward to backward.

    NVIDIA publishes no formula. This one fits, to the byte, the two sizes printed in pytorch/pytorch#2895 (comment of
    2017-10-04, 4 layers, hidden 320, float32): 736,000,000 for LSTM and 864,000,000 for GRU are 25,000 cells times
    1,280 bytes times (4 * 5 + 3) and (4 * 6 + 3). So each cell keeps 5 numbers per hidden unit (four gates and the
    cell state), a GRU's 6, and between layers one output. For tanh and ReLU networks 1 is assumed. With dropout between
    layers, cuDNN 9.19 on an H200 kept one bit more for each output between layers, and some 256 bytes: 1,024 B for 12 x 8
    cells of 64, 57,152 (float32) and 57,168 B (bfloat16) for 35 x 20 of 650 (tests/golden; this gives 57,131).

    Parameters
    ----------
    cells : int
        Time steps times batch (the sum of the batch sizes for packed sequences).
    hidden, between : int
        Width of the state, and of what one direction hands to the next layer (the projection, if there is one).
    """
    per_layer = _KEPT_PER_CELL[kind] * hidden * directions
    handed_on = (layers - 1) * between * directions
    masks = -(-cells * handed_on // 8) + _MASKS_HEAD if dropout and handed_on else 0
    return cells * itemsize * (layers * per_layer + handed_on) + masks


def use_cudnn(tensor) -> bool:
    """cudnn_is_acceptable in ATen/native/TensorProperties.cpp, and something to run on."""
    return torch.backends.cudnn.enabled and tensor.dtype in _ACCEPTED and tensor.numel() > 0


def _register(kind: str) -> None:
    packet = getattr(torch.ops.aten, kind)

    def padded(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
        arguments = (has_biases, num_layers, dropout, train, bidirectional)
        if not use_cudnn(input):
            check_one_device(input, hidden=hx if isinstance(hx, (list, tuple)) else [hx], parameter=params)
            return compat.composite(packet.input)(input, hx, params, *arguments, batch_first)
        return _run(packet.input, kind, input, None, hx, params, (*arguments, batch_first))

    def packed(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
        arguments = (has_biases, num_layers, dropout, train, bidirectional)
        if not batch_sizes.numel():  # PackedSequence.cpp makes none; RNN.cpp would read past the end
            raise RuntimeError("Cannot pack empty tensors.")
        if not use_cudnn(data):
            check_one_device(data, hidden=hx if isinstance(hx, (list, tuple)) else [hx], parameter=params)
            return compat.composite(packet.data)(data, batch_sizes, hx, params, *arguments)
        return _run(packet.data, kind, data, batch_sizes, hx, params, arguments)

    keys = (compat.AUTOGRAD_KEY, compat.KERNEL_KEY)
    kernel(f"{kind}.input", keys=keys)(padded)
    kernel(f"{kind}.data", keys=keys)(packed)


for _kind in _KEPT_PER_CELL:
    _register(_kind)


def _run(op, kind, input, batch_sizes, hx, params, arguments):
    states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
    check_one_device(input, hidden=states, parameter=params)
    if arguments[2] and arguments[3] and workspaces.counted():
        workspaces.for_dropout(input.device)
    input, *operands = _lower_precision([input, *states, *params])
    return _CudnnRnn.apply(op, kind, len(states), batch_sizes, arguments, input, *operands)


def check_one_device(input, **others) -> None:
    """check_attributes in ATen/native/RNN.cpp. Raises RuntimeError for a tensor that is not where the input is."""
    for name, tensors in others.items():
        for tensor in tensors:
            if tensor.device != input.device:
                raise RuntimeError(
                    f"Input and {name} tensors are not at the same device, found input tensor at {said(input.device)} and {name} "
                    f"tensor at {said(tensor.device)}"
                )


def _lower_precision(tensors):
    """Under autocast cuDNN's operator casts input, states and weights in every call, past the cache of casts."""
    if not torch.is_autocast_enabled(compat.NAME):
        return tensors
    dtype = torch.get_autocast_dtype(compat.NAME)
    return [tensor if tensor.dtype is torch.float64 else tensor.to(dtype) for tensor in tensors]


class _OnlyOnce(torch.autograd.Function):
    """Gradients as they are, tied to what they were made of; differentiating them raises cuDNN's RuntimeError."""

    @staticmethod
    def forward(ctx, count, *tensors):
        return tensors[:count]

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(_ONCE)


class _CudnnRnn(torch.autograd.Function):
    """One recurrent network; backward runs it again on the host, with the same random numbers, to differentiate it."""

    @staticmethod
    def forward(ctx, op, kind, state_count, batch_sizes, arguments, input, *operands):
        ctx.op, ctx.state_count, ctx.batch_sizes, ctx.arguments = op, state_count, batch_sizes, arguments
        ctx.random_state = randomness.state()
        with torch.no_grad():
            results = _on_host(ctx, [unwrap(tensor) for tensor in (input, *operands)])
        copied = _copied_input(input, batch_sizes, arguments)
        results = [wrap(result) for result in _time_first(results, batch_sizes, arguments)]
        del copied
        reserve = _reserve(kind, input, operands, batch_sizes, arguments)
        ctx.save_for_backward(input, *operands, results[0], reserve)
        return tuple(results)

    @staticmethod
    def backward(ctx, *grads):
        if not ctx.arguments[3]:
            raise RuntimeError(_EVALUATED)
        with torch.no_grad():
            found = _CudnnRnn.gradients(ctx, grads)
        if not torch.is_grad_enabled():
            return found
        given = [grad for grad in found if grad is not None]
        rest = iter(_OnlyOnce.apply(len(given), *given, *ctx.saved_tensors[:-2], *grads))
        return tuple(None if grad is None else next(rest) for grad in found)

    @staticmethod
    def gradients(ctx, grads):
        """The gradients of all arguments, None for those that have none."""
        operands = ctx.saved_tensors[:-2]
        leaves = [unwrap(tensor).detach().requires_grad_() for tensor in operands]
        with torch.enable_grad(), randomness.replay(ctx.random_state):
            results = _on_host(ctx, leaves)
        pairs = [(result, unwrap(grad)) for result, grad in zip(results, grads) if grad is not None]
        outputs, given = zip(*pairs)
        found = torch.autograd.grad(outputs, leaves, given, allow_unused=True)
        count = 1 + ctx.state_count
        data = [None if grad is None else wrap(grad) for grad in found[:count]]
        return *[None] * 5, *data, *_in_one_buffer(found[count:])


def _on_host(ctx, tensors):
    """Run the CPU's network over host tensors: input, states, weights."""
    count = ctx.state_count
    input, states, weights = tensors[0], tensors[1 : 1 + count], tensors[1 + count :]
    hx = states if count > 1 else states[0]
    sizes = [] if ctx.batch_sizes is None else [ctx.batch_sizes]
    with randomness.as_default(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        return ctx.op(input, *sizes, hx, weights, *ctx.arguments)


def _is_batch_first(batch_sizes, arguments) -> bool:
    return batch_sizes is None and arguments[5]


def _copied_input(input, batch_sizes, arguments):
    """cuDNN reads time first and contiguous: anything else is copied for the length of the call."""
    read = input.transpose(0, 1) if _is_batch_first(batch_sizes, arguments) else input
    return None if read.is_contiguous() else torch.empty_like(read, memory_format=torch.contiguous_format)


def _time_first(results, batch_sizes, arguments):
    """The output is written time first; with batch_first the caller gets a transposed view of it."""
    output, *states = results
    if _is_batch_first(batch_sizes, arguments):
        output = output.transpose(0, 1).contiguous().transpose(0, 1)
    return [output.contiguous() if batch_sizes is not None else output, *states]


def _reserve(kind, input, operands, batch_sizes, arguments):
    """The reserve buffer: empty unless the network trains."""
    _, layers, _, train, bidirectional = arguments[:5]
    hidden = operands[1].shape[-1] if kind == "lstm" else operands[0].shape[-1]
    between = operands[0].shape[-1]
    cells = input.shape[:-1].numel() if batch_sizes is None else int(batch_sizes.sum())
    widths = hidden, layers, 1 + bidirectional, between, input.element_size()
    size = reserve_size(kind, cells, *widths, dropout=arguments[2] > 0)
    return torch.empty(size if train else 0, dtype=torch.uint8, device=input.device)


def _in_one_buffer(grads):
    """Gradients of the weights as views of one buffer (_cudnn_rnn_backward_weight)."""
    sizes = [0 if grad is None else grad.numel() for grad in grads]
    known = [grad for grad in grads if grad is not None]
    if not known:
        return list(grads)
    buffer = wrap(torch.cat([grad.reshape(-1) for grad in known]))
    parts = iter(buffer.split([size for size in sizes if size]))
    return [None if grad is None else next(parts).view(grad.shape) for grad in grads]
