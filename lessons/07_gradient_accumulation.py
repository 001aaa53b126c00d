# ---
# title: Gradient accumulation
# minutes: 25
# ---

# %% [markdown]
# # 07 · Eight small batches, one large bill
#
# {{badges}}
#
# **Symptom:** nothing leaks. The batch was cut into eight, and it still does not fit.
#
# After this lesson you can
# - accumulate gradients at the peak of one micro-batch,
# - get the very gradients of the full batch, also when the last micro-batch is short,
# - recognise the one kind of accumulation that really leaks.
#
# About 25 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("07_gradient_accumulation")

# %% [markdown]
# ## The scene
#
# The paper says batch size 1024. The GPU says no. So somebody cuts the batch into eight micro-batches, adds up their
# losses, and calls `backward()` once, "because one backward is cheaper than eight". The GPU says no again.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F


class Classifier(nn.Module):
    """64 features in, two hidden layers of `width`, 10 classes out."""

    def __init__(self, width=256):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(64, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 10),
        )

    def forward(self, x):
        return self.layers(x)


def new_model(seed=0):
    torch.manual_seed(seed)
    return Classifier().to(device)


def micro_batches(sizes=(128,) * 8, seed=0):
    """A list of pairs (features, labels) of these sizes, on the device."""
    random = torch.Generator().manual_seed(seed)
    parts = []
    for size in sizes:
        x = torch.randn(size, 64, generator=random)
        y = torch.randint(10, (size,), generator=random)
        parts.append((x.to(device), y.to(device)))
    return parts


for x, _ in micro_batches((1,)):
    new_model()(x).sum().backward()  # libraries take their workspaces now

# %% [markdown]
# The full batch, and the same in eight parts. Both leave the gradients of the mean loss in `.grad`; dividing by eight
# makes a mean of eight means.

# %% given="leak"
def full_batch(model, parts):
    """All samples at once: what the paper did."""
    x, y = (torch.cat(tensors) for tensors in zip(*parts))
    F.cross_entropy(model(x), y).backward()


def summed(model, parts):
    """Micro-batches, one backward."""
    total = 0.0
    for x, y in parts:
        total = total + F.cross_entropy(model(x), y) / len(parts)
    total.backward()


def gradients(accumulate, sizes, seed=0):
    """What one call leaves in `.grad`, weight by weight."""
    model = new_model(seed)
    accumulate(model, micro_batches(sizes, seed))
    return [weight.grad for weight in model.parameters()]


def measure(accumulate, sizes=(128,) * 8, steps=5, seed=0, clear=True):
    """Record training steps: clear, accumulate, update. Returns the trace."""
    model, parts = new_model(seed), micro_batches(sizes, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        if clear:
            optimizer.zero_grad()
        accumulate(model, parts)
        optimizer.step()
    return ag.record(step, steps=steps, warmup=1)

# %% [markdown]
# ## Predict
#
# `summed` never has more than 128 samples in a forward pass. The full batch has 1024.

# %%
ag.predict(
    "Beside the full batch's peak, the peak of the summed micro-batches will be",
    ["an eighth of it", "about a third of it", "more than half of it"],
)

# %% [markdown]
# ## Run and see

# %%
full, before = measure(full_batch), measure(summed)
share = (before.highest - before.baseline) / (full.highest - full.baseline)
words = ["an eighth of it", "about a third of it", "more than half of it"]
outcome = words[sum(share > limit for limit in (0.2, 0.5))]
names = ("full batch", "summed")
ag.plot(before=full, after=before, names=names, outcome=outcome)

# %% [markdown]
# Both are flat: **slope 0**, so no leak test will ever complain. What hurts is the dotted line, the **peak**. Ask what
# was alive at the highest moment:

# %%
print(ag.diagnose(before))
ag.diagnose(before, at="peak")

# %% [markdown]
# ## Why
#
# A loss that waits for its `backward()` keeps its graph. Add eight of them and eight graphs wait together: the full
# batch, in slices. A `backward()` per micro-batch frees each graph before the next one is built; gradients add up in
# `.grad` by themselves.
#
# **Folklore:** "forget `zero_grad()` and memory grows." Measure before you believe:

# %%
def place(where, size=128):
    """Ten steps at learning rate 0. Returns peak, what stays between steps, norm."""
    model, ((x, y),) = new_model(), micro_batches((size,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def step():
        if where in ("first", "first, in place"):
            optimizer.zero_grad(set_to_none=where == "first")
        loss = F.cross_entropy(model(x), y)
        if where == "before backward":
            optimizer.zero_grad()
        loss.backward()
        grads = [p.grad.flatten() for p in model.parameters()]
        norms.append(torch.cat(grads).norm().item())
        optimizer.step()
        if where == "last":
            optimizer.zero_grad()
    norms = []
    trace = ag.record(step, steps=9, warmup=1)
    sizes = trace.highest - trace.baseline, trace.final - trace.baseline
    return *map(ag.human, sizes), norms[-1]

# %%
print(f"{'zero_grad()':16}{'peak':>12}{'between steps':>16}{'gradient norm':>16}")
for where in ("first", "before backward", "last", "first, in place", "never"):
    peak, rest, norm = place(where)
    print(f"{where:16}{peak:>12}{rest:>16}{norm:>16.2f}")

# %% [markdown]
# Never clearing costs not one byte per step: there is one `.grad` per parameter, and it is added to. It only ruins the
# gradients, ten times over after ten steps. Flat as a pancake, and so is the learning curve.

# %% [markdown]
# What *does* change memory is the place. Gradients that exist during the forward pass stand on top of the activations;
# `set_to_none=False` keeps them for ever, `zero_grad()` as the last line frees them until the next backward.
#
# Dividing by the number of parts has a catch of its own:

# %%
for sizes in ((128,) * 8, (128,) * 7 + (8,)):
    pairs = zip(gradients(summed, sizes), gradients(full_batch, sizes))
    off = max(((a - b).norm() / b.norm()).item() for a, b in pairs)
    print(f"last micro-batch of {sizes[-1]:3}: gradients off by up to {off:.2%}")

# %% [markdown]
# A mean of means is the mean only if all parts are equally large. The last micro-batch of an epoch rarely is, and each
# of its 8 samples counts as much as 16 others.
#
# ## Exercise: `fix_accumulate`
#
# Write what happens to each micro-batch's loss. About one line, five minutes.
#
# - `.grad` holds the full batch's gradients, whatever the sizes of the parts.
# - The peak stays near that of *one* micro-batch.

# %% exercise="fix_accumulate"
def accumulate(model, parts):
    """Leave the gradients of the mean loss over all samples of all parts in `.grad`."""
    for x, y in parts:
        loss = F.cross_entropy(model(x), y)  # the mean over this micro-batch
        ### BEGIN SOLUTION
        (loss * len(y) / sum(len(labels) for _, labels in parts)).backward()
        ### END SOLUTION

# %% [markdown]
# Your own run beside the sum:

# %%
after = measure(accumulate)
ag.plot(before=before, after=after)

# %% check="fix_accumulate" points=3
from autograder.errors import CheckFailed


def verdict(sizes, steps, seed):
    what, exercise = f"the gradients of {len(sizes)} parts", "fix_accumulate"
    trace = measure(accumulate, sizes, steps, seed)
    one = measure(full_batch, (max(sizes),), steps, seed, clear=False)
    expected = gradients(full_batch, sizes, seed)
    found = gradients(accumulate, sizes, seed)
    ag.check.same(found, expected, what=what, exercise=exercise)
    ag.check.flat(trace, steps=steps + 1, exercise=exercise)
    ag.check.copies(trace, h2d=len(sizes), exercise=exercise)
    ag.check.peak(trace, reference=one, ratio=1.2, exercise=exercise)


def of_different_sizes(sizes, steps, seed):
    try:
        verdict(sizes, steps, seed)
    except CheckFailed as failure:
        if failure.rule != "wrong results":
            raise
        print("One point lost: right while all parts are equally large. A short part")
        print("counts too much: weigh each part by its number of samples.")
        return 2
    return 3


verdict(sizes=(128,) * 8, steps=4, seed=0)
points = of_different_sizes(sizes=(128, 128, 24), steps=4, seed=1)
### BEGIN HIDDEN TESTS
verdict(sizes=(64,) * 5, steps=3, seed=7)
points = min(points, of_different_sizes(sizes=(9, 96, 64, 2), steps=5, seed=3))
### END HIDDEN TESTS
points  # of 3

# %% [markdown]
# Stuck? One more hint at each run: where to look, which concept, which call.

# %% hint="fix_accumulate"
# Look at the report of the peak: tensors of many micro-batches are alive together. What
# would let go of them before the next micro-batch?
#
# Each micro-batch needs a backward pass of its own; `.grad` does the adding. For the
# scale, ask what the full batch's mean is made of: every *sample* counts the same, so a
# part counts by its number of samples.
#
# `(loss * len(y) / samples).backward()` inside the loop, where `samples` is the number of
# all samples in `parts`.

# %% [markdown]
# ## Turn the knobs
#
# Cut finer and finer: does the peak of the sum move? And of yours? Where does it stop falling, and what is left there?

# %%
def rerun(parts=8, yours=False, samples=1024):
    way, name = (accumulate, "yours") if yours else (summed, "summed")
    full, cut = measure(full_batch, (samples,)), measure(way, (samples // parts,) * parts)
    return ag.plot(before=full, after=cut, names=("full batch", name), prediction=False)


ag.explore(rerun, parts=[1, 2, 4, 8, 16], yours=False, samples=(256, 1024, 256))

# %% [markdown]
# The sum never gets below its graphs. Yours falls with each cut, less and less: the gradients stay, however fine you cut.
#
# ## The accumulation that leaks
#
# One kind of gradient does grow. `create_graph=True` gives the gradient a graph of its own, for second derivatives,
# and that graph leads back to the parameter whose `.grad` it is: a circle.

# %%
import gc
import warnings
import weakref


def second_order(clear, separate=False):
    """GPU memory that stays per step when each step makes gradients with a graph."""
    model, ((x, y),) = new_model(), micro_batches((128,))

    def step():
        if clear:
            model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if separate:
            torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        else:
            loss.backward(create_graph=True)
    slope = ag.record(step, steps=4, warmup=1).slope
    model.zero_grad()  # opens the circle that this demonstration closed
    return ag.human(slope)

# %%
warnings.filterwarnings("ignore", message="Using backward")  # it kept nagging
print("backward(create_graph=True), never cleared     ", second_order(clear=False))
print("backward(create_graph=True), cleared every step", second_order(clear=True))
print("autograd.grad(create_graph=True), never cleared",
      second_order(clear=False, separate=True))

# %% [markdown]
# And deleting the model? The circle runs through C++, where Python's garbage collector cannot see it:

# %%
model = x = y = None
start = ag.device_module().memory_allocated()


def show(moment):
    held = ag.device_module().memory_allocated() - start
    print(f"{moment:40}{ag.human(held):>12}")

# %%
model, ((x, y),) = new_model(), micro_batches((128,))
F.cross_entropy(model(x), y).backward(create_graph=True)
show("after one backward pass")
handles = [weakref.ref(weight) for weight in model.parameters()]
del model, x, y
gc.collect()
show("model deleted, garbage collected")
for handle in handles:
    handle().grad = None
show("every .grad set to None")

# %% [markdown]
# Only `.grad = None` opens the circle. PyTorch says so itself: *"We recommend using autograd.grad when creating the graph
# to avoid this."* It says it once, on a warning that somebody silenced (look above: "it kept nagging").
#
# ## Now at scale: `fix_trainer`
#
# A real trainer: micro-batches, gradient clipping, warm-up of the learning rate, moving average of the weights, and a
# penalty on the slope in `x`, which needs second derivatives. It trains well, until it runs out of memory.

# %% given="trainer"
import warnings
import weakref

warnings.filterwarnings("ignore", message="Using backward")  # it kept nagging
_handed_out = []  # so that the next recording can free what this one left


class Trainer:
    """Trains a classifier whose loss should not jump when its input moves a little."""

    def __init__(self, seed=0, strength=0.5, smoothing=0.9):
        self.model, self.average = new_model(seed), new_model(seed)
        self.average.requires_grad_(False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.2, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda number: min(1.0, (number + 1) / 5)
        )
        self.strength, self.smoothing = strength, smoothing
        self.history = []

    def fit(self, steps):
        """`steps`: lists of micro-batches. Returns a record per step."""
        for parts in steps:
            self.optimizer.zero_grad()
            samples = sum(len(y) for _, y in parts)
            figures = [self.accumulate(x, y, samples) for x, y in parts]
            norm = self.clip()
            self.update()
            self.log(figures, norm)
        return self.history

    def accumulate(self, x, y, samples):
        """Add the gradients of one micro-batch. Returns its loss and its penalty."""
        x.requires_grad_()
        loss = F.cross_entropy(self.model(x), y, reduction="sum") / samples
        loss.backward(create_graph=True)
        penalty = self.strength * samples * x.grad.square().sum()
        penalty.backward()
        return loss.item(), penalty.item()

    def clip(self):
        """Limit the gradients' norm. Returns what it was."""
        return nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item()

    def update(self):
        """Move the weights, and their moving average behind them."""
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters())
            for kept, now in pairs:
                kept.lerp_(now, 1 - self.smoothing)

    def log(self, figures, norm):
        loss, penalty = (sum(column) for column in zip(*figures))
        self.history.append({"loss": loss, "penalty": penalty, "norm": norm})


def training_data(steps, sizes, seed):
    """Yield lists of micro-batches whose labels can be learned."""
    random = torch.Generator().manual_seed(seed)
    teacher = torch.randn(64, 10, generator=random)
    for _ in range(steps):
        inputs = [torch.randn(size, 64, generator=random) for size in sizes]
        parts = [(x.to(device), (x @ teacher).argmax(1).to(device)) for x in inputs]
        _handed_out.extend(weakref.ref(x) for x, _ in parts)
        yield parts


def measure_training(trainer, steps=8, sizes=(64,) * 4, seed=0):
    """Record a training run. Returns its trace, its history and the weights."""
    for x in [handle() for handle in _handed_out]:
        if x is not None:
            x.grad = None
    _handed_out.clear()
    if not isinstance(trainer, type):
        with ag.record():  # says in one line that an exercise is still empty
            trainer = trainer()
    run = trainer(seed)
    with ag.record(warmup=2) as trace:
        history = run.fit(trace.steps(training_data(steps, sizes, seed)))
    return trace, history, [weight.detach() for weight in run.model.parameters()]

# %%
faulty, history, _ = measure_training(Trainer)
ag.plot(curves={"trainer": [entry["loss"] for entry in history]})

# %%
ag.plot(faulty, prediction=False)

# %% [markdown]
# The loss falls, the gradients are right, everything is cleared at every step. Find the method at fault with the
# instruments, not by reading: what grew, from which line, who holds it? And what is alive at the peak?

# %%
# ag.diagnose(...)

# %% [markdown]
# Return a `Trainer` that overrides what is at fault. Ten minutes.
#
# - The same history and the same weights as before, penalty included.
# - Memory flat, and the peak near that of a single micro-batch.

# %% exercise="fix_trainer"
def repaired():
    """Return a subclass of `Trainer`, without the fault."""

    class Repaired(Trainer):
        """Override the method at fault here."""
        ### BEGIN SOLUTION

        def accumulate(self, x, y, samples):
            x.requires_grad_()
            loss = F.cross_entropy(self.model(x), y, reduction="sum") / samples
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            penalty = self.strength * samples * slope.square().sum()
            (loss + penalty).backward()
            return loss.item(), penalty.item()
        ### END SOLUTION

    return Repaired

# %%
healthy, history, _ = measure_training(repaired)
ag.plot(before=faulty, after=healthy)

# %% check="fix_trainer" points=4
from autograder.errors import CheckFailed


def verdict_at_scale(steps, sizes, seed):
    exercise = "fix_trainer"
    one, *_ = measure_training(Trainer, 5, (max(sizes),), seed)
    leak, expected, weights = measure_training(Trainer, steps, sizes, seed)
    trace, history, result = measure_training(repaired, steps, sizes, seed)
    close = {"rtol": 1e-3, "atol": 1e-4, "exercise": exercise}
    ag.check.same(history, expected, what="the history", **close)
    ag.check.same(result, weights, what="the weights", **close)
    ag.check.flat(trace, per_step=leak.slope / 100, steps=steps, exercise=exercise)
    try:
        ag.check.peak(trace, reference=one, ratio=1.2, exercise=exercise)
    except CheckFailed as failure:
        print(failure)
        print("Two points of four: flat from step to step. Within a step, the graphs of")
        print("all micro-batches wait for each other: every .grad still has its own.")
        return 2
    return 4


points = verdict_at_scale(steps=7, sizes=(64,) * 4, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, verdict_at_scale(steps=6, sizes=(48, 96, 24, 96), seed=5))
### END HIDDEN TESTS
points  # of 4

# %% hint="fix_trainer"
# `ag.diagnose(faulty)` names a line of `Trainer`, and what holds the tensors: the gradient
# of something that is not a weight.
#
# `zero_grad()` clears the weights' gradients. Whose `.grad` does nobody clear? You need
# that gradient as a tensor to compute with, not as an attribute that stays.
#
# Override `accumulate`: `(slope,) = torch.autograd.grad(loss, x, create_graph=True)` gives
# the gradient without touching any `.grad`. Then one backward pass for both:
# `(loss + penalty).backward()`.

# %% [markdown]
# The trainer had kept every batch it was ever shown, with its gradient: the model generalised, the GPU learned by heart.

# %% reflect="where_else"
# ## Reflect
#
# Which of your tensors have a `.grad` that no optimizer knows: inputs, frozen layers, a second model? Who clears them?

# %% [markdown]
# ## Take away
#
# 1. Gradients add up by themselves: one `backward()` per micro-batch, each weighted by its number of samples.
# 2. Never clearing ruins gradients, not memory. Where you clear decides what stands on top of the activations.
# 3. For second derivatives use `torch.autograd.grad`; `backward(create_graph=True)` closes a circle.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 7 | Gradient accumulation | peak 2.6 MiB here instead of 1.0; slope 0 | every loss keeps its graph until one late backward | `(loss * share).backward()` per micro-batch |
#
# Next: **08 · Mixed-precision boundaries**.

# %% right="fix_accumulate" name="sums, divided by all samples"
def accumulate(model, parts):
    samples = sum(len(y) for _, y in parts)
    for x, y in parts:
        (F.cross_entropy(model(x), y, reduction="sum") / samples).backward()

# %% right="fix_accumulate" name="scales the gradients after the loop"
def accumulate(model, parts):
    samples = 0
    for x, y in parts:
        F.cross_entropy(model(x), y, reduction="sum").backward()
        samples += len(y)
    for weight in model.parameters():
        weight.grad /= samples

# %% right="fix_accumulate" name="passes the share to backward"
def accumulate(model, parts):
    sizes = [y.shape[0] for _, y in parts]
    for (x, y), size in zip(parts, sizes):
        loss = F.cross_entropy(model(x), y)
        loss.backward(torch.full_like(loss, size / sum(sizes)))

# %% right="fix_accumulate" name="one weight per sample"
def accumulate(model, parts):
    samples = sum(map(len, (y for _, y in parts)))
    for x, y in parts:
        losses = F.cross_entropy(model(x), y, reduction="none")
        torch.sum(losses / samples).backward()

# %% wrong="fix_accumulate" name="unchanged" expects="peak too high"
def accumulate(model, parts):
    samples, total = sum(len(y) for _, y in parts), 0.0
    for x, y in parts:
        total = total + F.cross_entropy(model(x), y) * len(y) / samples
    total.backward()

# %% wrong="fix_accumulate" name="divides by the number of parts" expects="2 of 3 points"
def accumulate(model, parts):
    for x, y in parts:
        loss = F.cross_entropy(model(x), y)
        (loss / len(parts)).backward()

# %% wrong="fix_accumulate" name="the full batch again" expects="peak too high"
def accumulate(model, parts):
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    F.cross_entropy(model(x), y).backward()

# %% wrong="fix_accumulate" name="no scale at all" expects="wrong results"
def accumulate(model, parts):
    for x, y in parts:
        F.cross_entropy(model(x), y).backward()

# %% wrong="fix_accumulate" name="clears before each micro-batch" expects="wrong results"
def accumulate(model, parts):
    samples = sum(len(y) for _, y in parts)
    for x, y in parts:
        model.zero_grad()
        (F.cross_entropy(model(x), y) * len(y) / samples).backward()

# %% wrong="fix_accumulate" name="keeps every graph" expects="peak too high"
losses = []

def accumulate(model, parts):
    samples = sum(len(y) for _, y in parts)
    losses.clear()
    for x, y in parts:
        losses.append(F.cross_entropy(model(x), y) * len(y) / samples)
        losses[-1].backward(retain_graph=True)

# %% wrong="fix_accumulate" name="a graph for every gradient" expects="peak too high"
def accumulate(model, parts):
    samples = sum(len(y) for _, y in parts)
    for x, y in parts:
        (F.cross_entropy(model(x), y) * len(y) / samples).backward(create_graph=True)

# %% wrong="fix_accumulate" name="parks the graphs on the host" expects="too many copies"
def accumulate(model, parts):
    samples, total = sum(len(y) for _, y in parts), 0.0
    with torch.autograd.graph.save_on_cpu():
        for x, y in parts:
            total = total + F.cross_entropy(model(x), y) * len(y) / samples
    total.backward()

# %% wrong="fix_accumulate" name="remembers every step's gradients" expects="not flat"
history = []

def accumulate(model, parts):
    samples = sum(len(y) for _, y in parts)
    for x, y in parts:
        (F.cross_entropy(model(x), y) * len(y) / samples).backward()
    history.append([weight.grad for weight in model.parameters()])

# %% wrong="fix_accumulate" name="does nothing" expects="wrong results"
def accumulate(model, parts):
    pass

# %% wrong="fix_accumulate" name="patches backward" expects="tampered"
def accumulate(model, parts):
    pass

torch.Tensor.backward = lambda *args, **kwargs: None

# %% wrong="fix_accumulate" name="collects garbage and empties the cache" expects="peak too high"
import gc


def accumulate(model, parts):
    samples, total = sum(len(y) for _, y in parts), 0.0
    for x, y in parts:
        total = total + F.cross_entropy(model(x), y) * len(y) / samples
    gc.collect()
    ag.device_module().empty_cache()
    total.backward()

# %% right="fix_trainer" name="one backward pass for each of the two"
def repaired():
    class Repaired(Trainer):
        def accumulate(self, x, y, samples):
            x = x.detach().requires_grad_()
            loss = F.cross_entropy(self.model(x), y, reduction="sum") / samples
            slope = torch.autograd.grad(loss, [x], create_graph=True)[0]
            loss.backward(retain_graph=True, inputs=list(self.model.parameters()))
            penalty = self.strength * samples * (slope**2).sum()
            penalty.backward(inputs=list(self.model.parameters()))
            return loss.item(), penalty.item()

    return Repaired

# %% right="fix_trainer" name="only the input gets a graph, and is cleared"
def repaired():
    class Repaired(Trainer):
        def accumulate(self, x, y, samples):
            x.requires_grad_()
            loss = F.cross_entropy(self.model(x), y, reduction="sum") / samples
            loss.backward(create_graph=True, inputs=[x])
            slope, x.grad = x.grad, None
            penalty = self.strength * samples * slope.square().sum()
            (loss + penalty).backward(inputs=list(self.model.parameters()))
            return loss.item(), penalty.item()

    return Repaired

# %% right="fix_trainer" name="clears the input and cuts every gradient"
def repaired():
    class Repaired(Trainer):
        def accumulate(self, x, y, samples):
            figures = super().accumulate(x, y, samples)
            x.grad = None
            for weight in self.model.parameters():
                weight.grad = weight.grad.detach()
            return figures

    return Repaired

# %% wrong="fix_trainer" name="unchanged" expects="not flat"
def repaired():
    class Repaired(Trainer):
        pass

    return Repaired

# %% wrong="fix_trainer" name="clears the weights more often" expects="not flat"
def repaired():
    class Repaired(Trainer):
        def update(self):
            super().update()
            self.optimizer.zero_grad(set_to_none=True)
            self.model.zero_grad()

    return Repaired

# %% wrong="fix_trainer" name="clears the input only" expects="2 of 4 points"
def repaired():
    class Repaired(Trainer):
        def accumulate(self, x, y, samples):
            figures = super().accumulate(x, y, samples)
            x.grad = None
            return figures

    return Repaired

# %% wrong="fix_trainer" name="drops the penalty" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def accumulate(self, x, y, samples):
            loss = F.cross_entropy(self.model(x), y, reduction="sum") / samples
            loss.backward()
            return loss.item(), 0.0

    return Repaired

# %% wrong="fix_trainer" name="a penalty without second derivatives" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def accumulate(self, x, y, samples):
            x.requires_grad_()
            loss = F.cross_entropy(self.model(x), y, reduction="sum") / samples
            loss.backward()
            penalty = self.strength * samples * x.grad.square().sum()
            x.grad = None
            return loss.item(), penalty.item()

    return Repaired

# %% wrong="fix_trainer" name="collects garbage" expects="not flat"
import gc

def repaired():
    class Repaired(Trainer):
        def update(self):
            super().update()
            gc.collect()
            ag.device_module().empty_cache()

    return Repaired

# %% wrong="fix_trainer" name="trains without a moving average" expects="not flat"
def repaired():
    class Repaired(Trainer):
        def update(self):
            self.optimizer.step()
            self.schedule.step()

    return Repaired

# %% wrong="fix_trainer" name="one step only" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def fit(self, steps):
            return super().fit([next(iter(steps))])

    return Repaired

# %% wrong="fix_trainer" name="clears behind the recorder's back" expects="tampered"
def repaired():
    return Trainer

Trainer.accumulate = lambda self, x, y, samples: (0.0, 0.0)
