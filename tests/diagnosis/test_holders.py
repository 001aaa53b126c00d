"""Is every way to keep a tensor alive found, and named as the learner wrote it?

Each case plants one holder and leaves the storage in ``found``; the name ``found`` itself holds a storage
object that is popped before the search, so the planted holder is the only one.
"""

import gc
import sys

import pytest
import torch

from autograder.diagnosis import holders

CIRCLE = """
import warnings, weakref
x = torch.ones(4, device=device, requires_grad=True)
class Circle:
    x = weakref.ref(x)
    def remove(self):
        self.x().grad = None
handles = [Circle()]
with warnings.catch_warnings(action="ignore"):
    y = (x * 3).exp()
    y.sum().backward(create_graph=True)
found = y.untyped_storage()
del y
"""

NAMELESS = "the gradient of a tensor without a name (a circle: only `.grad = None` opens it)"

CASES = {
    "list": (
        "losses = [torch.ones(4, device=device) for _ in range(3)]\nfound = losses[1].untyped_storage()",
        ("list", "list `losses`"),
    ),
    "dict": (
        "log = {'loss': torch.ones(4, device=device)}\nfound = log['loss'].untyped_storage()",
        ("dict", "dict `log`"),
    ),
    "list in a dict": (
        "log = {'loss': [torch.ones(4, device=device)]}\nfound = log['loss'][0].untyped_storage()",
        ("list", "list `log['loss']`"),
    ),
    "tuple": (
        "state = (torch.ones(4, device=device), 1)\nfound = state[0].untyped_storage()",
        ("list", "tuple `state`"),
    ),
    "view": (
        "feats = [torch.ones(400, device=device)[:2]]\nfound = feats[0].untyped_storage()",
        ("list", "list `feats`"),
    ),
    "attribute": (
        """
class Trainer:
    pass
trainer = Trainer()
trainer.last = torch.ones(4, device=device)
found = trainer.last.untyped_storage()
""",
        ("attribute", "attribute `last` of Trainer `trainer`"),
    ),
    "list in an attribute": (
        """
class Trainer:
    pass
trainer = Trainer()
trainer.history = [torch.ones(4, device=device)]
found = trainer.history[0].untyped_storage()
""",
        ("attribute", "attribute `history` of Trainer `trainer` (a list)"),
    ),
    "slot": (
        """
class Pair:
    __slots__ = ("left",)
pair = Pair()
pair.left = torch.ones(4, device=device)
found = pair.left.untyped_storage()
""",
        ("attribute", "attribute `left` of Pair `pair`"),
    ),
    "class attribute": (
        "class Memo:\n    seen = [torch.ones(4, device=device)]\nfound = Memo.seen[0].untyped_storage()",
        ("attribute", "attribute `seen` of class Memo (a list)"),
    ),
    "buffer": (
        """
model = nn.Sequential(nn.BatchNorm1d(3)).to(device)
found = model[0].running_mean.untyped_storage()
""",
        ("attribute", "attribute `running_mean` of BatchNorm1d `model.0`"),
    ),
    "gradient": (
        """
layer = nn.Linear(3, 3).to(device)
layer(torch.ones(2, 3, device=device)).sum().backward()
found = layer.weight.grad.untyped_storage()
""",
        ("attribute", "attribute `grad` of Parameter `layer.weight`"),
    ),
    "gradient with a graph": (
        CIRCLE,
        ("graph", "the graph of the gradient of Tensor `x`, saved by ExpBackward0"),
    ),
    "gradient with a graph, of a leaf without a name": (
        CIRCLE + "del x",
        ("graph", f"the graph of {NAMELESS}, saved by ExpBackward0"),
    ),
    "closure": (
        """
def make():
    cache = []
    def step():
        cache.append(torch.ones(4, device=device))
        return cache[0].untyped_storage()
    return step
step = make()
found = step()
""",
        ("closure", "closure variable `cache` of function `step` (a list)"),
    ),
    "default argument": (
        """
def log(x, seen=[]):
    seen.append(x)
    return x.untyped_storage()
found = log(torch.ones(4, device=device))
""",
        ("default", "default argument `seen` of function `log` (a list)"),
    ),
    "keyword default": (
        """
def log(x, *, seen=[]):
    seen.append(x)
    return x.untyped_storage()
found = log(torch.ones(4, device=device))
""",
        ("default", "default argument `seen` of function `log` (a list)"),
    ),
    "function attribute": (
        "def step(): pass\nstep.cache = [torch.ones(4, device=device)]\nfound = step.cache[0].untyped_storage()",
        ("attribute", "attribute `cache` of function `step` (a list)"),
    ),
    "lru_cache": (
        """
import functools
@functools.lru_cache
def embed(n):
    return torch.ones(n, device=device)
found = embed(4).untyped_storage()
""",
        ("dict", "cache `lru_cache` of function `embed`"),
    ),
    "graph of a variable": (
        """
w = torch.ones(4, device=device, requires_grad=True)
loss = w.exp().sum()
found = loss.grad_fn.next_functions[0][0]._raw_saved_result.data.untyped_storage()
""",
        ("graph", "the graph of tensor `loss`, saved by ExpBackward0"),
    ),
    "graph of tensors in a list": (
        """
w = torch.ones(4, device=device, requires_grad=True)
losses = [w.exp().sum() for _ in range(3)]
found = losses[1].grad_fn.next_functions[0][0]._raw_saved_result.data.untyped_storage()
""",
        ("graph", "the graph of a tensor held by list `losses`, saved by ExpBackward0"),
    ),
    "custom function's ctx": (
        """
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.kept = x * 2
        return x.clone()
    @staticmethod
    def backward(ctx, g):
        return g
loss = Double.apply(torch.ones(4, device=device, requires_grad=True)).sum()
found = loss.grad_fn.next_functions[0][0].kept.untyped_storage()
""",
        ("graph", "attribute `kept` of ctx of DoubleBackward, in the graph of tensor `loss`"),
    ),
    "module hook": (
        """
def watch(module):
    acts = []
    def remember(module, inputs, output):
        acts.append(output.detach())
    module.register_forward_hook(remember)
    return lambda: acts[0].untyped_storage()
layer = nn.Linear(3, 3).to(device)
probe = watch(layer)
layer(torch.ones(1, 3, device=device))
found = probe()
del probe
""",
        ("hook", "closure variable `acts` of function `remember`, a forward hook of Linear (a list)"),
    ),
    "tensor hook": (
        """
handles = []
def attach():
    y = torch.ones(4, device=device, requires_grad=True) * 2
    def keep(grad):
        return grad + y
    handles.append(y.register_hook(keep))
    return y.untyped_storage()
found = attach()
""",
        ("hook", "closure variable `y` of function `keep`, a hook of a tensor"),
    ),
    "reference cycle": (
        """
class Node:
    pass
def make():
    node = Node()
    node.me = node
    node.out = [torch.ones(4, device=device)]
    return node.out[0].untyped_storage()
found = make()
""",
        ("attribute", "attribute `out` of Node (a list), in a reference cycle (freed only when the garbage collector runs)"),
    ),
    "traceback": (
        """
seen = []
def step():
    big = torch.ones(4, device=device)
    seen.append(big.untyped_storage())
    raise ValueError
try:
    step()
except ValueError as error:
    kept = error
found = seen.pop()
""",
        ("traceback", "local `big` of function `step`, kept by the traceback in `kept`"),
    ),
    "generator": (
        """
def batches():
    batch = torch.ones(4, device=device)
    yield batch.untyped_storage()
    yield batch
loader = batches()
found = next(loader)
""",
        ("frame", "local `batch` of generator `batches`, which has not finished"),
    ),
    "global": (
        "x = torch.ones(4, device=device)\nfound = x.untyped_storage()",
        ("global", "global `x`"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_planted_holder_is_the_answer(name, small_heap, learner):
    """Is the planted holder named, and is nobody else accused?"""
    source, expected = CASES[name]
    namespace = learner(source)
    answers = [(holder.kind, holder.text) for holder in holders(namespace.pop("found"))]
    for handle in namespace.get("handles", ()):  # a hook that closes over its own tensor is never collected
        handle.remove()
    namespace.clear()
    assert answers == [expected]


def test_the_collector_waits(device):
    """GIVEN a collector that runs at every allocation THEN it does not run amid the search, and goes on after."""
    kept = [torch.ones(4, device=device)]
    amid = []

    def note(phase, info):
        frame = sys._getframe()
        while frame is not None:
            amid.append(frame.f_code.co_name == "look_up")
            frame = frame.f_back

    thresholds = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(1, 1, 1)
    try:
        holders(kept[0])
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(note)
    assert amid and not any(amid)
    assert gc.isenabled()


def test_a_running_functions_variable_is_found(device):
    """Is a local of a function that still runs seen, though Python keeps no frame object for it?"""

    def train():
        outputs = [torch.ones(4, device=device)]
        return holders(outputs[0].untyped_storage())

    assert [(h.kind, h.text) for h in train()] == [("list", "list `outputs` of function `train`")]


def test_looking_at_a_running_function_leaves_no_reference_in_it(device):
    """Does a local die at ``del`` after the search has read it? (``frame.f_locals`` would keep it.)"""
    memory = torch.get_device_module(device).memory_allocated if device.type == "simgpu" else lambda: 0
    before = memory()
    tensor = torch.ones(1 << 16, device=device)
    died = []
    import weakref

    weakref.finalize(tensor, died.append, True)
    assert holders(tensor)
    del tensor
    assert died == [True]
    assert memory() == before


def test_last_traceback_is_named(device, monkeypatch):
    """Is the place where Python keeps an uncaught error said, and not only the frame?"""

    def step():
        big = torch.ones(4, device=device)
        raise ValueError(big.untyped_storage())

    storage = None
    try:
        step()
    except ValueError as error:
        storage = error.args[0]
        monkeypatch.setattr(sys, "last_traceback", error.__traceback__, raising=False)
    answers = [(h.kind, h.text) for h in holders(storage)]
    assert answers == [("traceback", "local `big` of function `step`, kept by the traceback in `sys.last_traceback`")]


def test_checkpointed_blocks_are_not_recomputed(device):
    """Does reading the graph leave pack and unpack hooks alone?"""
    calls = []

    def block(x):
        calls.append(x)
        return x.exp().sin()

    x = torch.ones(4, device=device, requires_grad=True)
    out = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    holders(out)
    assert len(calls) == 1


def test_a_long_graph_is_walked_without_recursion(device):
    """Does a recurrent graph of ten thousand steps neither overflow the stack nor hide its tensor?"""
    state = torch.ones(2, device=device, requires_grad=True)
    first = state.exp()
    state = first
    for _ in range(10_000):
        state = state * 1.0
    storage = first.untyped_storage()
    del first
    assert ("graph", "the graph of tensor `state`, saved by ExpBackward0") in [
        (h.kind, h.text) for h in holders(storage)
    ]


def test_gradients_of_gradients_are_not_warned_about(device, capfd):
    """Is the standard error stream clean, also next to non-leaf tensors and lazy objects of torch?"""
    kept = [torch.ones(4, device=device, requires_grad=True).exp() for _ in range(2)]
    holders(kept[0])
    assert capfd.readouterr().err == ""


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="tensor or a storage.*list"):
        holders([1])
