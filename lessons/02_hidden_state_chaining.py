# ---
# title: Hidden-state chaining
# minutes: 30
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
# About 30 minutes: 20 for the leak, 10 for the same leak in a service.

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


def document(chunks, length=4, size=32, seed=0):
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


def measure(read, chunks=12, size=32, seed=0):
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
    "Allocated memory over 12 chunks will",
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
# The state after chunk 12 was computed from chunk 11's, and that from chunk 10's. One live tensor holds the whole chain of
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
        nodes, start = graph_nodes(loss), time.process_time()
        loss.backward(retain_graph=True)
        milliseconds = 1e3 * (time.process_time() - start)
        if chunk % 4 == 0:
            print(f"  chunk {chunk:2}: {nodes:4} graph nodes, backward {milliseconds:5.1f} ms of CPU time")

# %% [markdown]
# So it is the chain, not the recurrence. The error message was right that something was used twice, and wrong about what you
# want: nobody meant to go back from chunk 12 to chunk 1. With an optimizer step per chunk, its advice does not even run:
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

# %% [markdown]
# Your answer is compared with a reference that takes another road: all states first, without graphs, then every chunk
# on its own.

# %% given="reference"
def truncated(chunks, size, seed):
    """Truncated backpropagation through time. Returns losses, the last state, gradients."""
    model, state, states, losses = new_model(seed), None, [], []
    with torch.no_grad():
        for x, y in document(chunks, size=size, seed=seed):
            states.append(state)
            _, state = model(x, state)
    for (x, y), state in zip(document(chunks, size=size, seed=seed), states):
        predictions, state = model(x, state)
        loss = F.mse_loss(predictions, y)
        loss.backward()
        losses.append(loss.item())
    return losses, state, [p.grad for p in model.parameters()]

# %% check="fix_read" points=3
def verdict(chunks, size, seed):
    leak = measure(leaky_read, 6, size, seed)[0]
    expected, last, reference = truncated(chunks, size, seed)
    trace, result, gradients = measure(read, chunks, size, seed)
    pair = isinstance(result, (tuple, list)) and len(result) == 2
    losses, state = result if pair else (result, None)
    ag.check.same(losses, expected, what="the losses", exercise="fix_read")
    ag.check.flat(trace, per_step=leak.slope / 100, steps=chunks, exercise="fix_read")
    ag.check.same(state, last, what="the state", exercise="fix_read")
    ag.check.graph_depth(state, at_most=ag.check.depth_of(last[0]), exercise="fix_read")
    ag.check.same(gradients, reference, what="the gradients", exercise="fix_read")


verdict(chunks=12, size=32, seed=0)
### BEGIN HIDDEN TESTS
verdict(chunks=7, size=16, seed=5)
verdict(chunks=10, size=8, seed=11)
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
def rerun(leak=True, chunks=12, size=32):
    return measure(leaky_read if leak else read, chunks, size)[0]


ag.explore(rerun, leak=True, chunks=(6, 30), size=(8, 64, 8))

# %% [markdown]
# Twice the chunks, twice the pile; twice the batch, twice the slope. With a detached state the length of the document
# does not matter at all: that is what *truncated* buys.

# %% [markdown]
# ## Now at scale
#
# A keyboard suggests the next token and learns while you type. The language model is frozen in all but name: only its last
# layer adapts, by `torch.autograd.grad`, and nobody ever calls `retain_graph`. No error, no warning. The service handles
# twenty users well and is killed during the night.
#
# It was written for a GRU. Last month somebody put in an LSTM.

# %% given="service"
class Keyboard(nn.Module):
    """A small language model: 64 tokens, an LSTM state (h, c) of `width` each."""

    def __init__(self, width=256):
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(64, width)
        self.cell = nn.LSTMCell(width, width)
        self.head = nn.Linear(width, 64)

    def forward(self, tokens, state):
        """tokens: (time,). Returns logits (time, 64) and the new state."""
        logits = []
        for token in self.embedding(tokens):
            state = self.cell(token[None], state)
            logits.append(self.head(state[0]))
        return torch.cat(logits), state


class Service:
    """Serves many users in turn: each has a state, a surprise level and a last suggestion."""

    def __init__(self, model, lr=0.1):
        self.model, self.lr = model, lr
        self.states, self.surprise, self.suggestions = {}, {}, {}
        self.answered = 0

    def serve(self, requests):
        """Answer every request; return what is known about each user."""
        for user, tokens in requests:
            self.answer(user, tokens)
        return self.report()

    def answer(self, user, tokens):
        logits, state = self.model(tokens[:-1], self.state_of(user))
        loss = F.cross_entropy(logits, tokens[1:])
        self.adapt(loss)
        self.remember(user, state)
        self.watch(user, loss)
        self.suggest(user, logits)
        self.answered += 1

    def state_of(self, user):
        if user not in self.states:
            zeros = torch.zeros(1, self.model.width, device=device)
            self.states[user] = (zeros, zeros)
        return self.states[user]

    def adapt(self, loss):
        """One step of gradient descent on the last layer."""
        layer = list(self.model.head.parameters())
        with torch.no_grad():
            for weight, gradient in zip(layer, torch.autograd.grad(loss, layer)):
                weight -= self.lr * gradient

    def remember(self, user, state):
        """Keep the state, without its history, for the user's next request."""
        hidden, *others = state
        self.states[user] = (hidden.detach(), *others)

    def watch(self, user, loss):
        """A moving average of the loss: does this user still sound like themselves?"""
        before = self.surprise.get(user, 0.0)
        self.surprise[user] = 0.8 * before + 0.2 * loss

    def suggest(self, user, logits):
        self.suggestions[user] = logits[-1].topk(3).indices

    def report(self):
        surprise = {user: torch.as_tensor(s).item() for user, s in self.surprise.items()}
        best = {user: tokens.tolist() for user, tokens in self.suggestions.items()}
        return {"answered": self.answered, "surprise": surprise, "suggestions": best}


def requests(count, users=3, length=6, seed=0):
    """Yield `count` pairs (user, tokens), the users in turn, tokens on the device."""
    random = torch.Generator().manual_seed(seed)
    for number in range(count):
        tokens = torch.randint(64, (length,), generator=random)
        yield f"user {number % users}", tokens.to(device)


def measure_service(make_service, count=20, users=3, length=6, seed=0, width=256):
    """Record a service at work. Returns the trace, the report and the service."""
    torch.manual_seed(seed)
    model = Keyboard(width).to(device)
    with ag.record(warmup=3) as trace:
        service = make_service(model)
        report = service.serve(trace.steps(requests(count, users, length, seed)))
    return trace, report, service

# %% [markdown]
# The number of users is constant, so every dict here stops growing after three requests. Memory does not:

# %%
night, report, service = measure_service(Service)
ag.plot(night)

# %%
ag.diagnose(night)

# %% [markdown]
# ## Exercise: `fix_service`
#
# Override what keeps the history, and only that. Three to ten lines, ten minutes.
#
# - Same suggestions, same surprise, same states and weights: users keep their context, the last layer keeps learning.
# - Memory flat over the requests.
# - For the last point: no user's state keeps a graph. One per user is flat too, but every new user pays for it.
#
# Repair one holder and measure: did the slope change? Ask `ag.diagnose(mine)`.

# %% exercise="fix_service"
def repaired(model):
    """Return a service that answers as `Service(model)` does, with flat memory."""

    class Repaired(Service):
        ### BEGIN SOLUTION
        def remember(self, user, state):
            self.states[user] = tuple(part.detach() for part in state)

        def watch(self, user, loss):
            super().watch(user, loss.detach())
        ### END SOLUTION

    return Repaired(model)

# %%
mine, report, service = measure_service(repaired)
ag.plot(before=night, after=mine)

# %% check="fix_service" points=4
def bare(values):
    """The same nest of tensors, without their graphs."""
    if isinstance(values, torch.Tensor):
        return values.detach()
    return {user: tuple(part.detach() for part in state) for user, state in values.items()}


def verdict(count, users, length, seed, width):
    case = dict(count=count, users=users, length=length, seed=seed, width=width)
    leak, expected, service = measure_service(Service, **case)
    states = bare(service.states)
    weights = [p.detach() for p in service.model.parameters()]
    del service  # and what it leaked
    trace, report, service = measure_service(repaired, **case)
    trained, name = list(service.model.parameters()), "fix_service"
    ag.check.same(report, expected, what="the report", exercise=name)
    ag.check.same(service.states, states, what="the states", exercise=name)
    ag.check.same(trained, weights, what="the weights", exercise=name)
    ag.check.flat(trace, per_step=leak.slope / 100, steps=count, exercise=name)
    parts = [part for state in service.states.values() for part in state]
    hanging = sum(part.grad_fn is not None for part in parts)
    if hanging:
        print(f"3 of 4 points: flat, but {hanging} of {len(parts)} kept tensors",
              "still hold the graph of their user's last request")
    return 3 if hanging else 4


points = verdict(count=18, users=3, length=6, seed=0, width=256)
### BEGIN HIDDEN TESTS
points = min(points, verdict(count=9, users=2, length=9, seed=6, width=128))
points = min(points, verdict(count=14, users=3, length=4, seed=13, width=320))
### END HIDDEN TESTS
points

# %% hint="fix_service"
# `diagnose` names a dict with one entry per user. Look at what each request puts into it, and from what it was computed.
# Repair it, measure, diagnose again: the same tensors may have a second holder.
#
# An LSTM's state has two parts, and an LSTM's `c` is computed from the `c` before it. A moving average is computed from
# the average before it. Each is a chain of its own, so cutting one frees nothing that the other still holds.
#
# `tuple(part.detach() for part in state)` in `remember`, and `loss.detach()` (or `loss.item()`) in `watch`.

# %% [markdown]
# ## One holder is enough
#
# Cut one chain at a time, then both. Memory is free when the *last* holder lets go, not the first:

# %%
class CutState(Service):
    def remember(self, user, state):
        self.states[user] = tuple(part.detach() for part in state)


class CutAverage(Service):
    def watch(self, user, loss):
        super().watch(user, loss.detach())


class CutBoth(CutAverage, CutState):
    pass


for kind in (Service, CutState, CutAverage, CutBoth):
    slope = measure_service(kind, count=12)[0].slope
    print(f"{kind.__name__:11} {ag.human(slope):>9} per request")

# %% [markdown]
# Whoever repairs one line, sees no change and takes it out again, will never find this leak. That is why the method
# says: fix, measure, **diagnose again**.

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
# 4. Two chains over the same steps: cutting one frees nothing. Fix, measure, diagnose again.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 2 | Hidden-state chaining | +453 KiB and 20 more graph nodes per chunk here | the state keeps every earlier chunk's graph | detach each part of the state between chunks |
#
# Next: **03 · Evaluation without no_grad**.

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

# %% right="fix_service" name="the recurrent part under no_grad"
def repaired(model):
    class Repaired(Service):
        def answer(self, user, tokens):
            self.state = self.state_of(user)
            hidden = []
            with torch.no_grad():
                for token in self.model.embedding(tokens[:-1]):
                    self.state = self.model.cell(token[None], self.state)
                    hidden.append(self.state[0])
            logits = self.model.head(torch.cat(hidden))
            loss = F.cross_entropy(logits, tokens[1:])
            self.adapt(loss)
            self.states[user] = self.state
            self.watch(user, loss.detach())
            self.suggest(user, logits.detach())
            self.answered += 1

    return Repaired(model)

# %% right="fix_service" name="a frozen body and numbers"
def repaired(model):
    class Repaired(Service):
        def watch(self, user, loss):
            super().watch(user, loss.item())

        def adapt(self, loss):
            super().adapt(loss)
            for part in (self.model.embedding, self.model.cell):
                part.requires_grad_(False)

        def remember(self, user, state):
            h, c = state
            super().remember(user, [h, c.detach()])

    return Repaired(model)

# %% right="fix_service" name="copies kept without a graph"
def keep(state):
    with torch.no_grad():
        return [part.clone() for part in state]


def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            self.states[user] = keep(state)

        def watch(self, user, loss):
            with torch.no_grad():
                super().watch(user, loss)

    return Repaired(model)

# %% right="fix_service" name="handed over detached"
def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            super().remember(user, [part.detach() for part in state])

        def watch(self, user, loss):
            self.surprise[user] = 0.8 * self.surprise.get(user, 0.0) + 0.2 * float(loss.detach())

    return Repaired(model)

# %% wrong="fix_service" name="nothing overridden" expects="not flat"
def repaired(model):
    return Service(model)

# %% wrong="fix_service" name="only the state" expects="not flat"
def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            self.states[user] = tuple(part.detach() for part in state)

    return Repaired(model)

# %% wrong="fix_service" name="only the average" expects="not flat"
def repaired(model):
    class Repaired(Service):
        def watch(self, user, loss):
            super().watch(user, loss.item())

    return Repaired(model)

# %% wrong="fix_service" name="the wrong half of the state" expects="not flat"
def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            self.states[user] = (state[0].detach(), state[1].clone())

        def watch(self, user, loss):
            super().watch(user, loss.item())

    return Repaired(model)

# %% wrong="fix_service" name="detached only when it is used again" expects="3 of 4 points"
def repaired(model):
    class Repaired(Service):
        def state_of(self, user):
            return tuple(part.detach() for part in super().state_of(user))

        def watch(self, user, loss):
            super().watch(user, loss.item())

    return Repaired(model)

# %% wrong="fix_service" name="forgets the context" expects="wrong results"
def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            self.states.pop(user, None)

        def watch(self, user, loss):
            super().watch(user, loss.item())

    return Repaired(model)

# %% wrong="fix_service" name="carries h, starts c anew" expects="wrong results"
def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            self.states[user] = (state[0].detach(), torch.zeros_like(state[1]))

        def watch(self, user, loss):
            super().watch(user, loss.item())

    return Repaired(model)

# %% wrong="fix_service" name="no gradient anywhere" expects="does not require grad"
def repaired(model):
    class Repaired(Service):
        @torch.no_grad()
        def answer(self, user, tokens):
            super().answer(user, tokens)

    return Repaired(model)

# %% wrong="fix_service" name="no gradient, and no learning" expects="wrong results"
def repaired(model):
    class Repaired(Service):
        def adapt(self, loss):
            pass

        @torch.no_grad()
        def answer(self, user, tokens):
            super().answer(user, tokens)

    return Repaired(model)

# %% wrong="fix_service" name="eval mode" expects="not flat"
def repaired(model):
    return Service(model.eval())

# %% wrong="fix_service" name="collects garbage after every request" expects="not flat"
import gc

def repaired(model):
    class Repaired(Service):
        def answer(self, user, tokens):
            super().answer(user, tokens)
            gc.collect()
            torch.get_device_module(device).empty_cache()

    return Repaired(model)

# %% wrong="fix_service" name="a second copy of the states in a global" expects="not flat"
kept = []

def repaired(model):
    class Repaired(Service):
        def remember(self, user, state):
            kept.append(state)
            self.states[user] = tuple(part.detach() for part in state)

        def watch(self, user, loss):
            super().watch(user, loss.item())

    return Repaired(model)

# %% wrong="fix_service" name="answers nobody" expects="wrong results"
def repaired(model):
    class Repaired(Service):
        def serve(self, requests):
            return self.report()

    return Repaired(model)

# %% wrong="fix_service" name="puts another check in place" expects="tampered"
def repaired(model):
    return Service(model)

ag.check.flat = lambda trace, **rules: 4
