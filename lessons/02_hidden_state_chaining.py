# ---
# title: Hidden-state chaining
# minutes: 20
# ---

# %% [markdown]
# # 02 · The longer the document, the slower the step
#
# {{badges}}
#
# **Symptom:** memory *and* time per step climb together, the further the model reads.
#
# After this lesson you can
# - recognise a graph that grows from step to step,
# - tell when PyTorch's own advice (`retain_graph=True`) is bad advice,
# - carry a hidden state without carrying its history.
#
# About 20 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("02_hidden_state_chaining")

# %% [markdown]
# ## The scene
#
# A recurrent model reads a long document in chunks and carries its hidden state from one chunk to the next.
# The second chunk raised *"Trying to backward through the graph a second time"*, and the message itself
# suggested a cure: `retain_graph=True`. It worked. Short documents train fine. Long ones never finish.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F


class Tracker(nn.Module):
    """Predicts the next 8 numbers of a stream; carries an LSTM state (h, c)."""

    def __init__(self, width=64):
        super().__init__()
        self.width = width
        self.cell = nn.LSTMCell(8, width)
        self.head = nn.Linear(width, 8)

    def forward(self, chunk, state=None):
        """chunk: (time, batch, 8). Returns predictions of the same shape and the new state."""
        if state is None:
            zeros = chunk.new_zeros(chunk.shape[1], self.width)
            state = (zeros, zeros)
        predictions = []
        for x in chunk:
            state = self.cell(x, state)
            predictions.append(self.head(state[0]))
        return torch.stack(predictions), state


def document(chunks, length=8, size=32, seed=0):
    """Yield `chunks` pairs (inputs, targets) of one long stream, on the device."""
    random = torch.Generator().manual_seed(seed)
    last = torch.randn(1, size, 8, generator=random)
    for _ in range(chunks):
        stream = torch.cat([last, torch.randn(length, size, 8, generator=random)]).to(device)
        last = stream[-1:].cpu()
        yield stream[:-1], stream[1:]


def graph_nodes(tensor):
    """Number of autograd nodes reachable from a tensor."""
    seen, queue = set(), [tensor.grad_fn]
    while queue:
        node = queue.pop()
        if node is not None and node not in seen:
            seen.add(node)
            queue += [parent for parent, _ in node.next_functions]
    return len(seen)


def new_model(seed=0):
    torch.manual_seed(seed)
    return Tracker().to(device)

# %% [markdown]
# The training function as it stands after the "cure". One optimizer step per document, so gradients add up.

# %% given="leak"
def leaky_read(model, chunks):
    """Accumulate gradients over a document. Returns a loss per chunk, and the last state."""
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward(retain_graph=True)  # "because the error message said so"
        losses.append(loss.item())
    return losses, state


def measure(read, chunks=16, size=32, seed=0):
    """Record a pass. Returns the trace, what `read` returned, and the gradients."""
    model = new_model(seed)
    with ag.record(warmup=3) as trace:
        result = read(model, trace.steps(document(chunks, size=size, seed=seed)))
    return trace, result, [p.grad for p in model.parameters()]

# %% [markdown]
# ## Predict
#
# The losses are plain numbers (you know why from lesson 01), and the state is two small tensors that are *replaced* at every chunk.
# So what will allocated memory do?

# %%
ag.predict(
    "Allocated memory over 16 chunks will",
    ["stay flat", "grow by a constant amount per chunk", "grow faster and faster"],
)

# %% [markdown]
# ## Run and see

# %%
before, (losses, state), gradients = measure(leaky_read)
ag.plot(before)

# %% [markdown]
# The state has a constant size, and still every chunk adds the same amount. Something behind the state is growing.
# Ask what it is:

# %%
ag.diagnose(before)

# %% [markdown]
# ## Why
#
# The state after chunk 16 was computed from chunk 15's, and that from chunk 14's. One live tensor holds the whole chain of
# graph nodes, and `retain_graph=True` forbids `backward()` to free what they saved. The same chain makes every backward
# pass longer. Count it, beside a model that forgets its state (which trains nothing useful, but has no chain):

# %%
import time

state = None  # let go of the run above
for name, carries in {"state carried on": True, "state thrown away": False}.items():
    model, state = new_model(), None
    print(name)
    for chunk, (x, y) in enumerate(document(13)):
        predictions, state = model(x, state if carries else None)
        loss = F.mse_loss(predictions, y)
        nodes, start = graph_nodes(loss), time.perf_counter()
        loss.backward(retain_graph=True)
        milliseconds = 1e3 * (time.perf_counter() - start)
        if chunk % 4 == 0:
            print(f"  chunk {chunk:2}: {nodes:4} graph nodes, backward {milliseconds:5.1f} ms")

# %% [markdown]
# So it is the chain, not the recurrence. The error message was right that something was used twice, and wrong about what you
# want: nobody meant to go back from chunk 16 to chunk 1. With an optimizer step per chunk, its advice does not even run:
# the step changes the weights in place, and the old part of the chain needs them as they were.

# %%
model, state = new_model(), None
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
try:
    for x, y in document(4):
        predictions, state = model(x, state)
        F.mse_loss(predictions, y).backward(retain_graph=True)
        optimizer.step()
except RuntimeError as error:
    print(str(error).split(". ")[0])

# %% [markdown]
# ## Exercise: `fix_read`
#
# Carry the state's *values* into the next chunk and leave its history behind. About one line, five minutes.
#
# - Return the same losses and state as `leaky_read`: it must really be carried.
# - Gradients as in truncated backpropagation through time: each chunk for itself.
# - Memory flat, and the graph behind the state no deeper than one chunk.
#
# If PyTorch complains about a *second time*, part of the state still has its history.

# %% exercise="fix_read"
def read(model, chunks):
    """Accumulate gradients chunk by chunk. Returns a loss per chunk, and the last state."""
    state, losses = None, []
    for x, y in chunks:
        if state is not None:
            ### BEGIN SOLUTION
            state = tuple(s.detach() for s in state)
            ### END SOLUTION
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, state

# %% [markdown]
# Your own run beside the leak. **Folklore:** "RNNs leak in PyTorch, it is just how it is." Your line is the measurement:

# %%
after, (losses, state), gradients = measure(read)
ag.plot(before=before, after=after)

# %% check="fix_read" points=3
def truncated(chunks, size, seed):
    """The reference by another road: all states first, then every chunk on its own."""
    model, state, states = new_model(seed), None, []
    with torch.no_grad():
        for x, y in document(chunks, size=size, seed=seed):
            states.append(state)
            _, state = model(x, state)
    for (x, y), state in zip(document(chunks, size=size, seed=seed), states):
        predictions, state = model(x, state)
        F.mse_loss(predictions, y).backward()
    return state, [p.grad for p in model.parameters()]


def verdict(chunks, size, seed):
    leak, returned, _ = measure(leaky_read, chunks, size, seed)
    expected = returned[0]
    del returned  # its state holds the whole document
    last, reference = truncated(chunks, size, seed)
    trace, result, gradients = measure(read, chunks, size, seed)
    pair = isinstance(result, (tuple, list)) and len(result) == 2
    losses, state = result if pair else (result, None)
    ag.check.same(losses, expected, what="the losses", exercise="fix_read")
    ag.check.flat(trace, per_step=leak.slope / 100, steps=chunks, exercise="fix_read")
    ag.check.same(state, last, what="the state", exercise="fix_read")
    ag.check.graph_depth(state, at_most=ag.check.depth_of(last[0]), exercise="fix_read")
    ag.check.same(gradients, reference, what="the gradients", exercise="fix_read")


verdict(chunks=16, size=32, seed=0)
### BEGIN HIDDEN TESTS
verdict(chunks=8, size=16, seed=5)
verdict(chunks=13, size=8, seed=11)
### END HIDDEN TESTS
3  # points

# %% [markdown]
# Stuck? One more hint at each run: where to look, which concept, which call.

# %% hint="fix_read"
# Look at what enters the model at chunk 2: `state` is a tuple of two tensors. Print `state[0].grad_fn`.
#
# You want the same values with no memory of how they were made. That is exactly what separates a tensor from its graph
# in lesson 01; here there are two tensors, and both need it.
#
# `state = tuple(s.detach() for s in state)`: the values stay on the device, the history ends here.

# %% [markdown]
# ## Turn the knobs
#
# Twice the chunks: how much more memory at the end? Twice the batch: how much steeper?
# And with your fix, how long a document could you read?

# %%
def rerun(leak=True, chunks=16, size=32):
    return measure(leaky_read if leak else read, chunks, size)[0]


ag.explore(rerun, leak=True, chunks=(8, 40), size=(8, 64, 8))

# %% [markdown]
# Twice the chunks, twice the pile; twice the batch, twice the slope. With a detached state the length of the document
# does not matter at all: that is what *truncated* buys.

# %% reflect="where_else"
# ## Reflect
#
# A state that is carried from step to step is not only an RNN's: think of a moving average of a loss, a memory bank,
# an environment's observation, a "previous frame". Which one in your own code still remembers how it was made?

# %% [markdown]
# ## Take away
#
# 1. A carried tensor carries its graph; the chain grows with every step.
# 2. `retain_graph=True` silences the error and keeps the leak. Time per step grows too.
# 3. `detach()` *every* part of the state between chunks; never reset it to zeros to save memory.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 2 | Hidden-state chaining | memory and time per step climb | the state keeps every earlier chunk's graph | detach each part of the state between chunks |

# %% right="fix_read" name="a loop over the parts"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        if state is not None:
            h, c = state
            state = (h.detach(), c.detach())
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, state

# %% right="fix_read" name="detached after the backward pass, in place"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        state = tuple(s.detach_() for s in state)
        losses.append(loss.item())
    return losses, state

# %% right="fix_read" name="a recursive repackage helper"
def repackage(state):
    """Detach tensors in any nesting of tuples."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(repackage(part) for part in state)


def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, repackage(state) if state else None)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(float(loss))
    return losses, state

# %% right="fix_read" name="copies made without a graph"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        with torch.no_grad():
            state = [s.clone() for s in state]
        losses.append(loss.item())
    return losses, state

# %% wrong="fix_read" name="the error message's own advice" expects="not flat"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward(retain_graph=True)
        losses.append(loss.item())
    return losses, state

# %% wrong="fix_read" name="only h, not c" expects="backward through the graph a second time"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        if state is not None:
            state = (state[0].detach(), state[1])
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, state

# %% wrong="fix_read" name="reset to zeros" expects="wrong results"
def read(model, chunks):
    losses = []
    for x, y in chunks:
        predictions, state = model(x, None)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, state

# %% wrong="fix_read" name="never trains" expects="wrong results"
@torch.no_grad()
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        losses.append(F.mse_loss(predictions, y).item())
    return losses, state

# %% wrong="fix_read" name="one backward for the whole document" expects="not flat"
def read(model, chunks):
    state, losses, total = None, [], 0.0
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        total = total + loss
        losses.append(loss.item())
    total.backward()
    return losses, state

# %% wrong="fix_read" name="collect and empty the cache every chunk" expects="not flat"
import gc

def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward(retain_graph=True)
        losses.append(loss.item())
        gc.collect()
        torch.get_device_module(device).empty_cache()
    return losses, state

# %% wrong="fix_read" name="detaches every second chunk" expects="backward through the graph a second time"
def read(model, chunks):
    state, losses = None, []
    for number, (x, y) in enumerate(chunks):
        if state is not None and number % 2 == 0:
            state = tuple(s.detach() for s in state)
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, state

# %% wrong="fix_read" name="detaches the predictions, not the state" expects="does not require grad"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions.detach(), y)
        loss.backward()
        losses.append(loss.item())
    return losses, state

# %% wrong="fix_read" name="gives no state back" expects="wrong results"
def read(model, chunks):
    state, losses = None, []
    for x, y in chunks:
        if state is not None:
            state = tuple(s.detach() for s in state)
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, [torch.zeros(1), torch.zeros(1)]

# %% wrong="fix_read" name="empty loop" expects="wrong results"
def read(model, chunks):
    return [], (torch.zeros(1), torch.zeros(1))

# %% wrong="fix_read" name="replaces the recorder" expects="tampered"
def read(model, chunks):
    return [0.0 for _ in chunks], None

ag.record = None
