"""A random program on the simulated GPU, in a process of its own: ``python -m tests.simgpu.random_programs SEED MOVES``,
or ``... SEED MOVES cuda``, where "cuda" means the simulated GPU.

It does what people do at their worst: views of views, in-place changes, ``out=``, resizing, hooks that raise, threads,
interrupts in the middle of an operator, memory that runs out, tensors without a storage of their own. Ordinary exceptions are part of the game; an aborted process, a
SystemError or a byte left in the ledger is not. Prints ``left N`` (bytes allocated after everything was deleted and
graphs that hold themselves were cut).
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import gc
import io
import pickle
import random
import signal
import sys
import threading
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor
from torch.utils.checkpoint import checkpoint

from autograder import simgpu
from autograder.simgpu.cuda_shim import cuda_means_simgpu
from autograder.simgpu.interrupts import Interruption
from tests.simgpu.wrapper_programs import Wrapper

CAPACITY = 64 << 20
MOST_KEPT = 40
UNARY = [
    "neg",
    "abs",
    "exp",
    "sin",
    "sigmoid",
    "relu",
    "tanh",
    "floor",
    "sqrt",
    "isnan",
    "sign",
    "cumsum",
    "softmax",
    "sort",
    "unique",
    "nonzero",
    "median",
    "svd",
    "inverse",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "matmul",
    "maximum",
    "eq",
    "where",
    "atan2",
    "pow",
    "bmm",
    "dot",
    "outer",
    "cdist",
    "cat",
]
IN_PLACE = [
    "add_",
    "mul_",
    "zero_",
    "fill_",
    "t_",
    "squeeze_",
    "unsqueeze_",
    "clamp_",
    "copy_",
    "resize_",
    "requires_grad_",
    "detach_",
    "exponential_",
    "sub_",
]
VIEWS = [
    "t",
    "view_as_real",
    "unfold",
    "diagonal",
    "narrow",
    "select",
    "expand",
    "flatten",
    "as_strided",
    "squeeze",
    "unsqueeze",
    "permute",
    "split",
    "chunk",
]
GAME = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError, KeyError, KeyboardInterrupt)


class Bomb(torch.autograd.Function):
    """Passes its input on; raises in the backward thread."""

    @staticmethod
    def forward(ctx, tensor):
        ctx.save_for_backward(tensor)
        return tensor * 2

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("a bomb in backward")


class Program:
    """One random program: a pool of tensors and a set of moves."""

    def __init__(self, seed: int, device: torch.device):
        self.device = device
        self.random = random.Random(seed)
        torch.manual_seed(seed)
        self.pool: list[torch.Tensor] = [torch.ones(2, device=self.device)]
        self.moves = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]

    def run(self, moves: int) -> None:
        """Make random moves; whatever they raise that people expect of PyTorch is forgotten."""
        self.left = moves
        while self.left:
            with contextlib.suppress(KeyboardInterrupt):  # one that came late, between two moves
                self.make_moves()

    def make_moves(self) -> None:
        while self.left:
            self.left -= 1
            with contextlib.suppress(*GAME):
                self.move()

    def move(self) -> None:
        """One move; the pool stays small and never empty."""
        if len(self.pool) > MOST_KEPT:
            self.pool.pop(self.random.randrange(len(self.pool)))
        if not self.pool:
            self.do_make()
        self.random.choice(self.moves)()

    def pick(self) -> torch.Tensor:
        return self.random.choice(self.pool)

    def keep(self, value) -> None:
        if isinstance(value, torch.Tensor):
            self.pool.append(value)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self.keep(item)

    def size(self) -> list[int]:
        return [self.random.choice((0, 1, 2, 3, 8, 33)) for _ in range(self.random.randrange(4))]

    def call(self, tensor, name, *others):
        """Call a method with a guess at what it wants besides."""
        guesses = [others, (*others, 0), (0, 0, 1), (self.size(),), ()]
        self.keep(getattr(tensor, name)(*self.random.choice(guesses)))

    def do_make(self):
        kind = self.random.choice((torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64))
        made = torch.zeros(self.size(), dtype=kind, device=self.device)
        if kind.is_floating_point and self.random.random() < 0.5:
            made.normal_().requires_grad_()
        self.keep(made)

    def do_unary(self):
        self.call(self.pick(), self.random.choice(UNARY))

    def do_binary(self):
        name = self.random.choice(BINARY)
        function = getattr(torch, name)
        first, second = self.pick(), self.pick()
        self.keep(function([first, second]) if name == "cat" else function(first, second))

    def do_in_place(self):
        self.call(self.pick(), self.random.choice(IN_PLACE), self.pick())

    def do_view(self):
        self.call(self.pick(), self.random.choice(VIEWS))

    def do_out(self):
        torch.add(self.pick(), self.pick(), out=self.pick())

    def do_copy(self):
        self.keep(self.pick().to(self.random.choice(("cpu", self.device, torch.float32, torch.int32))))
        self.pick().copy_(self.pick())

    def do_index(self):
        tensor, index = self.pick(), self.pick()
        self.keep(tensor[index.long() if self.random.random() < 0.5 else index])
        tensor[index.bool()] = self.pick()

    def do_backward(self):
        self.pick().float().sum().backward(retain_graph=self.random.random() < 0.3)

    def do_graph_of_gradients(self):
        tensor = self.pick().detach().float().requires_grad_()
        (first,) = torch.autograd.grad((tensor**3).sum(), tensor, create_graph=True)
        self.keep(first)

    def do_hook_that_raises(self):
        tensor = self.pick() * 1.0
        tensor.register_hook(self.random.choice((lambda _: 1 / 0, lambda _: sys.exit(3), lambda _: "no tensor")))
        with contextlib.suppress(ZeroDivisionError, SystemExit):
            tensor.sum().backward()

    def do_bomb(self):
        Bomb.apply(self.pick() * 1.0).sum().backward()

    def do_model(self):
        model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Dropout(), nn.ReLU()).to(self.device)
        optimizer = self.random.choice((torch.optim.SGD, torch.optim.Adam))(model.parameters(), lr=0.1)
        inputs = torch.randn(4, 8, device=self.device, requires_grad=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.random.random() < 0.5):
            out = checkpoint(model, inputs, use_reentrant=False) if self.random.random() < 0.3 else model(inputs)
        F.cross_entropy(out.float(), torch.zeros(4, dtype=torch.long, device=self.device)).backward()
        optimizer.step()
        self.keep([out, copy.deepcopy(model[0].weight)])

    def do_run_out_of_memory(self):
        self.keep(torch.empty(CAPACITY // 8, device=self.device))
        kept = [torch.ones(CAPACITY // 16, device=self.device, requires_grad=True) * 1 for _ in range(9)]
        sum(kept).sum().backward()

    def do_thread(self):
        def work():
            with contextlib.suppress(*GAME):
                self.keep((self.pick() * 2.0).sum())
                self.pick().float().sum().backward()

        thread = threading.Thread(target=work)
        thread.start()
        self.do_binary_quietly()
        thread.join()

    def do_binary_quietly(self):
        with contextlib.suppress(*GAME):
            self.do_binary()

    def do_interrupt(self):
        """Ctrl-C while operators run, again and again until one is not swallowed."""
        signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-5, 3e-3), 0.05)
        try:
            while True:
                with contextlib.suppress(RuntimeError):
                    (self.pick() * 1.5).sum()
                    self.do_model()
                    del self.pool[MOST_KEPT:]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def do_storage(self):
        """Views may reach beyond a storage then: on the CPU that ends PyTorch's process, so only on the device."""
        storage = self.pick().untyped_storage()
        moves = [storage.clone, storage.cpu]
        if storage.device.type != "cpu":
            moves.append(lambda: storage.resize_(self.random.randrange(4096)))
        self.random.choice(moves)()

    def do_set(self):
        self.pick().data = self.pick()

    def do_pickle(self):
        buffer = io.BytesIO()
        torch.save(self.pick().detach(), buffer)
        buffer.seek(0)
        self.keep(torch.load(buffer))
        self.keep(pickle.loads(pickle.dumps(self.pick().detach())))

    def do_tensor_without_storage(self):
        """A wrapper, masked, nested or fake tensor, made for the device that the program sees."""
        self.random.choice((self.wrap, self.mask, self.nest, self.fake))()

    def wrap(self):
        weight = nn.Parameter(Wrapper(self.pick().detach().float()))
        (weight * weight).sum().backward()
        self.keep(weight.grad.inner)

    def mask(self):
        tensor = self.pick().detach().float()
        masked = masked_tensor(tensor, tensor > 0, requires_grad=True)
        (masked * masked).sum().backward()
        self.keep(masked.grad.get_data())

    def nest(self):
        rows = [torch.ones(length, 8, device=self.device, requires_grad=True) for length in (1, self.random.randrange(4))]
        layout = self.random.choice((torch.jagged, torch.strided))
        batch = F.relu(F.linear(torch.nested.as_nested_tensor(rows, layout=layout), torch.ones(4, 8, device=self.device)))
        torch.nested.to_padded_tensor(batch, 0.0).sum().backward()
        self.keep(rows[0].grad)

    def fake(self):
        with FakeTensorMode() as mode:
            layer = nn.Linear(3, 3, device=self.device)
            layer(torch.ones(2, 3, device=self.device)).sum().backward()
            repr(mode.from_tensor(self.pick().detach()))

    def do_read(self):
        repr(self.pick())
        self.pick().tolist()

    def do_housekeeping(self):
        self.random.choice(
            (gc.collect, torch.simgpu.empty_cache, torch.simgpu.synchronize, torch.simgpu.memory_stats)
        )()

    def do_drop(self):
        del self.pool[: self.random.randrange(len(self.pool))]


def cut_graphs_that_hold_themselves() -> None:
    """``x.mul_(x)``, and any change in place by what was computed from a saved ``x``, makes PyTorch's graph save the
    tensor whose grad_fn it is, on every device: nothing but a backward that works frees it."""
    gc.collect()
    for tensor in [thing for thing in gc.get_objects() if type(thing) is torch.Tensor and thing.grad_fn is not None]:
        whole = tensor if tensor._base is None else tensor._base
        whole.detach_()
    gc.collect()


def main(seed: int, moves: int, name: str) -> None:
    """Run it, delete everything, say what is left."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, Interruption(KeyboardInterrupt))
    torch.set_num_threads(1)
    simgpu.enable(CAPACITY)
    with cuda_means_simgpu() if name == "cuda" else contextlib.nullcontext():
        program = Program(seed, torch.device(name, 0))
        program.run(moves)
        program.pool.clear()
    cut_graphs_that_hold_themselves()
    print("left", torch.simgpu.memory_allocated())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:] or ["simgpu"])
