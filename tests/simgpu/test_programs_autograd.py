"""Does autograd do on the simulated GPU all that programs ask of it?"""

import threading

import pytest
import torch
from torch import nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

MLP_WIDTH = 256


def mlp_blocks(device):
    return nn.Sequential(
        *[
            nn.Sequential(nn.Linear(MLP_WIDTH, 4 * MLP_WIDTH), nn.ReLU(), nn.Linear(4 * MLP_WIDTH, MLP_WIDTH))
            for _ in range(4)
        ]
    ).to(device)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_keeps_less(reentrant, device, allocated):
    """GIVEN four blocks WHEN each is checkpointed THEN forward keeps only their inputs."""
    blocks = mlp_blocks(device)

    def kept(call):
        hidden = torch.randn(64, MLP_WIDTH, device=device, requires_grad=True)
        before = allocated()
        for block in blocks:
            hidden = call(block, hidden)
        after = allocated()
        hidden.sum().backward()
        return after - before

    plain = kept(lambda block, hidden: block(hidden))
    saved = kept(lambda block, hidden: checkpoint(block, hidden, use_reentrant=reentrant))
    assert saved == 4 * 64 * MLP_WIDTH * 4
    assert plain == 5 * saved
    inputs = torch.randn(4, MLP_WIDTH, device=device, requires_grad=True)
    checkpoint_sequential(blocks, 2, inputs, use_reentrant=False).sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_draws_the_same_dropout_twice(reentrant, device):
    """Is the device's random state put back before recomputing?"""
    inputs = torch.ones(1000, device=device, requires_grad=True)
    output = checkpoint(nn.Dropout(0.5), inputs, use_reentrant=reentrant)
    output.sum().backward()
    assert torch.equal(inputs.grad != 0, output != 0)


def test_graph_kept_and_graph_of_gradients(device):
    """Do retain_graph, create_graph and the "second time" error work?"""
    x = torch.randn(8, device=device, requires_grad=True)
    y = (x**3).sum()
    y.backward(retain_graph=True)
    y.backward()
    torch.testing.assert_close(x.grad, 6 * x.detach() ** 2)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    (gradient,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    torch.testing.assert_close(second, 6 * x.detach())


def test_torch_func(device):
    """Do vmap, grad, jacrev, jacfwd and hessian work?"""
    x = torch.randn(4, 3, device=device)
    gradients = torch.func.vmap(torch.func.grad(lambda row: (row**3).sum()))(x)
    torch.testing.assert_close(gradients, 3 * x**2)
    row = x[0]
    torch.testing.assert_close(torch.func.jacrev(torch.square)(row), torch.func.jacfwd(torch.square)(row))
    torch.testing.assert_close(
        torch.autograd.functional.hessian(lambda v: (v**2).sum(), row), 2 * torch.eye(3, device=device)
    )


def test_every_kind_of_hook_runs(device):
    """Are forward, backward, tensor, node and accumulate hooks called?"""
    seen = []
    layer = nn.Linear(4, 4).to(device)
    layer.register_forward_hook(lambda *args: seen.append("forward"))
    layer.register_full_backward_hook(lambda *args: seen.append("backward"))
    layer.weight.register_hook(lambda grad: seen.append("tensor"))

    def free_gradient(parameter):
        seen.append("accumulated")
        parameter.grad = None

    layer.weight.register_post_accumulate_grad_hook(free_gradient)
    output = layer(torch.randn(2, 4, device=device, requires_grad=True))
    output.grad_fn.register_hook(lambda *args: seen.append("node"))
    output.sum().backward()
    assert set(seen) == {"forward", "backward", "tensor", "accumulated", "node"}
    assert layer.weight.grad is None


class Unlucky(Exception):
    """Raised by the hooks below."""


def raise_unlucky(*args):
    raise Unlucky("in a hook")


def test_exception_in_a_tensor_hook_reaches_the_caller(device):
    """GIVEN a hook that raises WHEN backward runs it THEN the caller gets it, ten times over."""
    for _ in range(10):
        x = torch.randn(8, device=device, requires_grad=True)
        y = x * 2
        y.register_hook(raise_unlucky)
        with pytest.raises(Unlucky):
            (y * y).sum().backward()
    (x * 3).sum().backward()
    assert x.grad[0] == 3


def test_exception_in_other_hooks_and_functions(device):
    """Do module hooks, saved-tensor hooks and custom functions that raise leave the process alive?"""

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            raise Unlucky

    x = torch.randn(8, device=device, requires_grad=True)
    with pytest.raises(Unlucky):
        Double.apply(x).sum().backward()
    layer = nn.Linear(8, 8).to(device)
    layer.register_full_backward_hook(raise_unlucky)
    with pytest.raises(Unlucky):
        layer(x).sum().backward()
    with saved_tensors_hooks(lambda tensor: tensor, raise_unlucky):
        y = (x * x).sum()
    with pytest.raises(Unlucky):
        y.backward()
    (x * 3).sum().backward()
    assert x.grad[0] == 3


def test_caught_hook_exceptions_hold_no_memory(device, allocated):
    """Is nothing kept of an exception once it was handled?"""
    before = allocated()
    for _ in range(3):
        x = torch.randn(1 << 16, device=device, requires_grad=True)
        y = x.exp()
        y.register_hook(raise_unlucky)
        with pytest.raises(Unlucky):
            y.sum().backward()
        del x, y
    assert allocated() == before


def test_a_failed_backward_leaves_nothing_to_do(device, allocated):
    """GIVEN a backward that fails, itself or inside another, with half of its graph yet to come THEN that half lives on
    neither here nor in a thread that goes on."""
    x = torch.randn(1 << 10, device=device, requires_grad=True)
    left = []

    def fail():
        before = allocated()
        later, unlucky = x.exp(), (x * 2).sin()  # backward goes through the younger nodes first
        unlucky.register_hook(raise_unlucky)
        losses = [(unlucky * later).sum(), (unlucky * later).sum()]
        with pytest.raises(Unlucky):
            losses.pop().backward()
        later, outer = x.exp(), (x * 3).cos()
        outer.register_hook(lambda gradient: losses.pop().backward())
        with pytest.raises(Unlucky):
            (outer * later).sum().backward()
        del unlucky, outer, later
        left.append(allocated() - before)

    fail()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert left == [0, 0]


def test_saved_tensors_on_the_host(device, allocated):
    """Does save_on_cpu() move what autograd saves off the device?"""
    x = torch.randn(256, 1024, device=device, requires_grad=True)
    size = x.untyped_storage().nbytes()

    def kept(context):
        before = allocated()
        with context:
            y = x.sin().sin().sin().sin()
        after = allocated()
        y.sum().backward()
        return after - before

    assert kept(saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)) == 4 * size
    assert kept(save_on_cpu(pin_memory=True)) == size


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_die_when_deleted(create_graph, device, allocated):
    """GIVEN gradients that autograd returned WHEN deleted THEN their memory is back at once, every time."""
    x = torch.ones(1000, device=device, requires_grad=True)
    before = allocated()
    for _ in range(100):
        (gradient,) = torch.autograd.grad((x * 2).exp().sum(), x, create_graph=create_graph)
        del gradient
        assert allocated() == before


def test_changing_a_saved_tensor_is_an_error(device):
    """Are version counters kept?"""
    y = torch.randn(3, device=device, requires_grad=True).exp()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_threads_train_side_by_side(device):
    """Do eight threads train at once, each with its own backward?"""
    problems, backward_threads = [], set()

    def work():
        try:
            for _ in range(10):
                layer = nn.Linear(16, 16).to(device)
                layer.weight.register_hook(lambda grad: backward_threads.add(threading.get_ident()) or grad)
                layer(torch.randn(4, 16, device=device)).sum().backward()
        except Exception as error:  # noqa: BLE001 - reported below
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert backward_threads == {thread.ident for thread in threads}


def test_complex_numbers_and_small_floats(device):
    """Do complex gradients and float8 work?"""
    x = torch.randn(4, dtype=torch.complex64, device=device, requires_grad=True)
    (torch.fft.fft(x).conj() @ x).abs().backward()
    assert x.grad.device == device
    assert torch.view_as_real(x.detach()).shape == (4, 2)
    assert torch.ones(4, device=device).to(torch.float8_e4m3fn).float().tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("foreach", [True, False])
def test_an_optimizer_step_is_seen_by_an_older_graph(foreach, device):
    """GIVEN a graph that saved a weight WHEN the optimizer changes the weight THEN its backward is refused, as on CUDA."""
    layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).to(device)
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1, foreach=foreach)
    loss = layers(torch.randn(2, 4, device=device)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_model_first_used_in_inference_mode_trains_later(device):
    """GIVEN weights first read in inference mode WHEN an optimizer steps outside it THEN they change as on CUDA."""
    model = nn.Linear(4, 4).to(device)
    with torch.inference_mode():
        assert model(torch.ones(2, 4, device=device)).is_inference()
    before = model.weight.detach().cpu()
    model(torch.ones(2, 4, device=device)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert torch.equal(model.weight.detach().cpu(), before - 2.0)
