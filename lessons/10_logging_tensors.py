# ---
# title: Logging tensors
# minutes: 20
# ---

# %% [markdown]
# # 10 · Four bytes for the log
#
# {{badges}}
#
# **Symptom:** you log two detached numbers per step. Memory climbs, and the GPU keeps pausing to report.
#
# After this lesson you can
# - say what a logged number costs: bytes kept, and waits per step,
# - keep means, bests and extremes on the device, and read them once in a while,
# - watch everything you like without slowing or filling anything.
#
# About 20 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("10_logging_tensors")

# %% [markdown]
# ## The scene
#
# After the last incident the team watches the run closely: the loss, the score of one known sample (the canary), a progress
# bar. Everything is detached; they did lesson 01. The canary is fine. The mine fills up with logbooks.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F

gpu = ag.device_module()


def new_model(seed=0):
    """64 features in, 512 classes out."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 512)).to(device)


def batches(count, size=256, seed=0):
    """A list of `count` pairs (features, labels), already on the device."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, 64, generator=random).to(device)
    y = torch.randint(512, (count, size), generator=random).to(device)
    return list(zip(x, y))


def training_step(model, optimizer, x, y):
    """One step of training. Returns the loss, after backward, and the logits."""
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, logits


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def measure(train, steps=25, size=256, seed=0, warmup=5):
    """Record `train(model, batches)`. Returns its trace and what it returned."""
    model, data = new_model(seed), batches(steps, size, seed)
    with ag.record(warmup=warmup) as trace:
        result = train(model, trace.steps(data))
    return trace, result

# %% given="leak"
def watchful_train(model, batches):
    """Train one pass. Returns two numbers of every step."""
    optimizer = sgd(model)
    losses, canary, bar = [], [], ""
    for x, y in batches:
        loss, logits = training_step(model, optimizer, x, y)
        losses.append(loss.detach())
        canary.append(logits.detach()[0, 0])
        bar = f"loss {loss:.3f}"
    return losses, canary

# %% [markdown]
# ## Predict
#
# Two stored tensors per step. Both are detached, both have shape `()`, both say `nbytes == 4`.

# %%
ag.predict(
    "Per step, the log keeps",
    ["nothing on the device", "8 bytes", "1 KiB: two smallest blocks", "more than 500 KiB"],
)

# %% [markdown]
# ## Run and see

# %%
before, (losses, canary) = measure(watchful_train)
words = ["nothing on the device", "8 bytes", "1 KiB: two smallest blocks", "more than 500 KiB"]
outcome = words[sum(before.slope > limit for limit in (0, 8, 1024))]
ag.plot(before, outcome=outcome)

# %% [markdown]
# One of the two numbers is half a megabyte. Guess which, then ask:

# %%
print(losses[0].nbytes, canary[0].nbytes)
ag.diagnose(before)

# %% [markdown]
# The run is over, the model gone. Let go of one log after the other, and empty the cache each time:

# %%
held = []


def look():
    gpu.empty_cache()
    held.append((gpu.memory_allocated(), gpu.memory_reserved()))

# %%
look()
canary = None
look()
losses = None
look()
rest = held[-1]
for name, (allocated, reserved) in zip(("both logs", "the losses alone"), held):
    sizes = ag.human(allocated - rest[0]), ag.human(reserved - rest[1])
    print("{:17}: {} live, {} kept from other processes".format(name, *sizes))

# %% [markdown]
# ## Why
#
# `loss` has a storage of its own: 4 bytes, in a block of 512, the smallest there is. `logits.detach()[0, 0]` is a *view*:
# detaching cuts the graph, not the storage (lesson 05), and the whole batch of logits stays. And where one small block lives, its
# *segment* of 2 MiB cannot be given back.

# %% [markdown]
# Memory is one price. The other is the wait: a value that Python reads stops Python until the GPU is done (lesson 04).
# Every way to log one number, measured on both:

# %%
kept, total, best = [], torch.zeros((), device=device), torch.ones((), device=device)


def line_of(loss, logits):
    kept.append(f"{loss:.3f}")


ways = {
    "append(loss.item())": lambda loss, logits: kept.append(loss.item()),
    'append(f"{loss:.3f}")': line_of,
    "if loss < best": lambda loss, logits: bool(loss < best),
    "append(loss.detach())": lambda loss, logits: kept.append(loss.detach()),
    "append(logits.detach()[0, 0])":
        lambda loss, logits: kept.append(logits.detach()[0, 0]),
    "append(... .clone())":
        lambda loss, logits: kept.append(logits.detach()[0, 0].clone()),
    "total += loss.detach()": lambda loss, logits: total.add_(loss.detach()),
    "torch.minimum(best, ...)":
        lambda loss, logits: torch.minimum(best, loss.detach(), out=best),
}

# %%
def cost(log):
    """Bytes that stay per step, and waits per step, if each step ends with `log`."""
    def train(model, batches):
        optimizer = sgd(model)
        for x, y in batches:
            log(*training_step(model, optimizer, x, y))
    trace, _ = measure(train, steps=10)
    kept.clear()
    return trace.slope, trace.syncs[trace.warmup:].mean()


print(f"{'':31}{'kept per step':>14}{'waits per step':>16}")
for name, log in ways.items():
    nbytes, waits = cost(log)
    print(f"{name:31}{ag.human(nbytes):>14}{waits:16g}")

# %% [markdown]
# **Folklore** one: "detach it, then you may keep it." True for the loss (512 B), false for a view.
#
# **Folklore** two: "log `.item()`, it costs nothing." No memory; one wait at every step.
#
# The last two rows cost neither. The host needs no number until it writes a line.

# %% [markdown]
# Are 512 bytes worth a thought? A log grows as long as the run:

# %%
one = cost(ways["append(loss.detach())"])[0]
for steps in (1_000, 100_000, 10_000_000):
    print(f"{steps:>10,} steps: {ag.human(one * steps):>9} for {ag.human(4 * steps):>9} of loss")

# %% [markdown]
# ## Exercise: `fix_meter`
#
# The loop below asks a `Meter` for the mean of the last `every` steps. Write `add`: two lines, five minutes.
#
# - `read` returns floats: the same means as before.
# - No growth, no higher peak, no graph in the meter.
# - No waits but those of `read`.

# %% given="loop"
class ReadsAtOnce:
    """The meter that everybody writes. Right, and waits at every step."""

    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(value.item())

    def read(self):
        mean = sum(self.values) / len(self.values)
        self.values = []
        return mean


def train_with(meters, model, batches, every):
    """Train one pass. Returns a log: two means every `every` steps."""
    optimizer, log = sgd(model), []
    for number, (x, y) in enumerate(batches, start=1):
        loss, logits = training_step(model, optimizer, x, y)
        meters[0].add(loss)
        meters[1].add(logits[0, 0])
        del loss, logits
        if number % every == 0:
            log.append([meter.read() for meter in meters])
    return log


def measure_meter(make, steps=25, size=256, seed=0, every=5):
    """Record training with two meters. Returns trace, log and meters."""
    meters = [make(), make()]
    def train(model, batches):
        return train_with(meters, model, batches, every)
    return *measure(train, steps, size, seed, warmup=every), meters

# %% exercise="fix_meter"
class Meter:
    """The mean of all values since the last reading."""

    def __init__(self):
        self.total = torch.zeros((), device=device)
        self.count = 0

    def add(self, value):
        """Take one more value: a tensor of shape () on the device, fresh from training."""
        ### BEGIN SOLUTION
        self.total += value.detach()
        self.count += 1
        ### END SOLUTION

    def read(self):
        """Return the mean as a float, and begin anew."""
        mean = self.total.item() / self.count
        self.total.zero_()
        self.count = 0
        return mean

# %% [markdown]
# Your own run beside the leak. While the stub is still empty, the next two cells say so.

# %%
after, log, _ = measure_meter(Meter)
display(ag.plot(before=before, after=after))
ag.plot(before=before, after=after, counts="syncs")

# %% [markdown]
# Two waits every fifth step: two meters, read one after the other.

# %% check="fix_meter" points=3
def verdict(steps, size, seed, every):
    """Return the points: 2 for the right log in flat memory, 3 without needless waits."""
    what = dict(exercise="fix_meter")
    leak, stored = measure(watchful_train, steps, size, seed)
    del stored
    good, expected, _ = measure_meter(ReadsAtOnce, steps, size, seed, every)
    trace, log, meters = measure_meter(Meter, steps, size, seed, every)
    ag.check.same(log, expected, rtol=1e-4, atol=1e-5, what="the log", **what)
    kinds = [type(value).__name__ for line in log for value in line]
    ag.check.same(kinds, ["float"] * len(kinds), what="the types in the log", **what)
    ag.check.no_graph([vars(meter) for meter in meters], **what)
    ag.check.flat(trace, per_step=leak.slope / 1000, steps=steps, **what)
    ag.check.peak(trace, reference=good, ratio=1.1, **what)
    waits = trace.syncs[trace.warmup:].mean()
    if 2 / every < waits < 3:
        print(f"2 of 3 points: memory is right; {waits:g} waits per step, {2 / every:g} would do")
        return 2
    return ag.check.syncs(trace, per_step=2 / every, points=3, **what)


points = verdict(steps=25, size=256, seed=0, every=5)
### BEGIN HIDDEN TESTS
points = min(points, verdict(steps=26, size=128, seed=7, every=8))
### END HIDDEN TESTS
points

# %% [markdown]
# Stuck? Each run of the next cell gives one more hint: where to look, which concept, which call.

# %% hint="fix_meter"
# `read` tells what it expects: a sum in `total`, how many in `count`. Which of the two does Python know
# without asking the GPU?
#
# Adding is work for the device, like any other: it needs no answer. Adding in place needs no new memory
# either. But the sum of values with a graph has a graph.
#
# `self.total += value.detach()`, and `self.count += 1`.

# %% [markdown]
# ## Turn the knobs
#
# How much does a log line every tenth step wait? Which way of storing gets dearer with a larger batch, and which with a longer run?

# %%
STORES = {
    "loss.item()": lambda loss, logits: kept.append(loss.item()),
    "loss.detach()": lambda loss, logits: kept.append(loss.detach()),
    "logits.detach()[0, 0]": lambda loss, logits: kept.append(logits.detach()[0, 0]),
    "running sum": lambda loss, logits: total.add_(loss.detach()),
}


def rerun(store="loss.detach()", line_every=1, size=256, show="memory"):
    def train(model, batches):
        optimizer = sgd(model)
        for number, (x, y) in enumerate(batches, start=1):
            STORES[store](*training_step(model, optimizer, x, y))
            if number % line_every == 0 and store != "loss.item()":
                float(total if store == "running sum" else kept[-1])
    trace, _ = measure(train, size=size)
    kept.clear()
    return ag.plot(trace, prediction=False, counts="syncs" if show == "waits" else None)


ag.explore(rerun, store=list(STORES), line_every=(1, 10), size=(64, 512, 64),
           show=["memory", "waits"])

# %% [markdown]
# `.item()` waits at every step, however seldom you write. With a running sum, waits fall as lines get rarer, and the plot of
# memory is the flattest picture in this course.

# %% [markdown]
# ## Now at scale
#
# The whole dashboard: smoothed loss, best loss, largest gradient, accuracy, the canary's range, a guard against NaN, a
# progress bar. Seven methods look at every step; one line in `every` steps is written. Do not read yet: record first.

# %% given="scale"
class Training:
    """Trains a classifier and writes one line of numbers every `every` steps."""

    def __init__(self, seed=0, every=5):
        self.model, self.every, self.log = new_model(seed), every, []
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.smooth = torch.full((), 6.0, device=device)
        self.best, self.norm = float("inf"), 0.0
        self.hits, self.seen, self.canary, self.bar = 0, 0, [], ""

    def fit(self, batches):
        """Train on each batch once. Returns the log."""
        for number, (x, y) in enumerate(batches, start=1):
            loss, logits = training_step(self.model, self.optimizer, x, y)
            self.guard(loss)
            self.follow_loss(loss.detach())
            self.keep_best(loss.detach())
            self.follow_norm()
            self.follow_accuracy(logits.detach(), y)
            self.watch_canary(logits.detach())
            self.show_progress(number, loss.detach())
            if number % self.every == 0:
                self.log.append(self.line(number))
        return self.log

    def guard(self, loss):
        """A run that has diverged must stop."""
        if not torch.isfinite(loss):
            raise FloatingPointError("the loss is not finite")

    def follow_loss(self, loss):
        """Moving average."""
        self.smooth.lerp_(loss, 0.1)

    def keep_best(self, loss):
        """Smallest loss so far."""
        if loss < self.best:
            self.best = loss

    def follow_norm(self):
        """Largest gradient of the last layer so far."""
        self.norm = max(self.norm, self.model[-1].weight.grad.norm().item())

    def follow_accuracy(self, logits, y):
        """Hits and samples so far."""
        self.hits += (logits.argmax(1) == y).sum().item()
        self.seen += len(y)

    def watch_canary(self, logits):
        """Score of one sample, to see its range."""
        self.canary.append(logits[0, 0])

    def show_progress(self, number, loss):
        self.bar = f"step {number}, loss {loss:.3f}"

    def line(self, number):
        """What is written: seven numbers."""
        canary = torch.stack(self.canary)
        return {
            "step": number,
            "smooth": self.smooth.item(),
            "best": float(self.best),
            "norm": float(self.norm),
            "accuracy": float(self.hits) / self.seen,
            "low": canary.min().item(),
            "high": canary.max().item(),
        }

# %% given="measure_training"
import linecache
import warnings
from collections import Counter


def measure_training(make, steps=25, size=256, seed=0, every=5):
    """Record the training that `make(seed, every)` returns: trace, log, training."""
    data = batches(steps, size, seed)
    with ag.record(warmup=every) as trace:
        training = make(seed, every)
        log = training.fit(trace.steps(data))
    return trace, log, training


def waiting_lines(training, steps=20):
    """Run some steps in PyTorch's sync debug mode. Prints the lines that waited."""
    if not hasattr(gpu, "set_sync_debug_mode"):
        return print("no GPU, real or simulated: nothing to wait for")
    data = batches(steps)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gpu.set_sync_debug_mode("warn")
        try:
            training.fit(data)
        finally:
            gpu.set_sync_debug_mode("default")
    told = [w for w in caught if "called a synchronizing" in str(w.message)]
    lines = Counter((w.filename, w.lineno) for w in told)
    for (file, line), count in lines.most_common():
        print(f"{count:4} x  {linecache.getline(file, line).strip()}")

# %%
scale, log, training = measure_training(Training)
print(f"{ag.human(scale.slope)} and {scale.syncs[5:].mean():g} waits per step")
ag.diagnose(scale)

# %%
waiting_lines(Training())  # 20 steps

# %% [markdown]
# ## Exercise: `fix_training`
#
# Override what the two lists accuse. About twenty lines, ten minutes; every one repeats the idea of `Meter`.
#
# - The same lines, as floats, and a diverged run still stops before the next line is written.
# - Memory does not grow at all: 64 B per step at most.
# - Waits: at most ten per *line*, none in between. 60 % of the waits, or 1 KiB per step, is worth part of the points.

# %% exercise="fix_training"
def repaired(seed=0, every=5):
    """Return a `Training` that writes the same log, keeps nothing and waits only for its lines."""

    class Repaired(Training):
        ### BEGIN SOLUTION
        def __init__(self, seed, every):
            super().__init__(seed, every)
            self.sum = torch.zeros((), device=device)
            self.best = torch.full((), float("inf"), device=device)
            self.norm, self.hits = torch.zeros(2, device=device)
            self.low, self.high = self.best.clone(), -self.best

        def guard(self, loss):
            self.sum += loss.detach()  # one NaN makes the sum NaN

        def keep_best(self, loss):
            torch.minimum(self.best, loss, out=self.best)

        def follow_norm(self):
            norm = self.model[-1].weight.grad.norm()
            torch.maximum(self.norm, norm, out=self.norm)

        def follow_accuracy(self, logits, y):
            self.hits += (logits.argmax(1) == y).sum()
            self.seen += len(y)

        def watch_canary(self, logits):
            torch.minimum(self.low, logits[0, 0], out=self.low)
            torch.maximum(self.high, logits[0, 0], out=self.high)

        def show_progress(self, number, loss):
            if number % self.every == 0:
                super().show_progress(number, loss)

        def line(self, number):
            super().guard(self.sum)
            self.canary = [self.low, self.high]
            return super().line(number)
        ### END SOLUTION

    return Repaired(seed, every)

# %%
mine, log, training = measure_training(repaired)
display(ag.plot(before=scale, after=mine))
ag.plot(before=scale, after=mine, counts="syncs")

# %% [markdown]
# Waits between the lines? `waiting_lines(repaired())` has them.

# %% check="fix_training" points=5
def stops_when_diverged(make, seed, every):
    """Whether a loss that is not a number, in the second window, stops the run by its line."""
    training, data = make(seed, every), batches(2 * every, 64, seed)
    data[every][0].fill_(float("nan"))
    try:
        training.fit(data)
    except FloatingPointError:
        return len(training.log) == 1
    return False


def verdict_on_training(steps, size, seed, every):
    """Return the points: 5, or 3 with 1 KiB per step, or 2 with 60 % of the waits."""
    what = dict(exercise="fix_training")
    leak, expected, kept = measure_training(Training, steps, size, seed, every)
    weights = [weight.detach() for weight in kept.model.parameters()]
    del kept
    trace, log, training = measure_training(repaired, steps, size, seed, every)
    ag.check.same(log, expected, rtol=1e-4, atol=1e-5, what="the log", **what)
    kinds = [type(value).__name__ for line in log for value in line.values()]
    lines = ["int", *["float"] * 6] * len(log)
    ag.check.same(kinds, lines, what="the types in the log", **what)
    trained = list(training.model.parameters())
    ag.check.same(trained, weights, what="the trained weights", **what)
    stopped = stops_when_diverged(repaired, seed, every)
    ag.check.same(stopped, True, what="stopped when diverged", **what)
    points = ag.check.flat(
        trace, per_step=64, steps=steps, almost=(1024, 3), points=5, **what
    )
    waits, were = trace.syncs[every:].mean(), leak.syncs[every:].mean()
    if 10 / every < waits <= 0.6 * were:
        print(f"2 of 5 points: {waits:.2g} waits per step instead of {were:.2g}; "
              f"{10 / every:.2g} would do. Ask waiting_lines(repaired())")
        return 2
    return min(points, ag.check.syncs(trace, per_step=10 / every, points=5, **what))


points = verdict_on_training(steps=25, size=256, seed=0, every=5)
### BEGIN HIDDEN TESTS
points = min(points, verdict_on_training(steps=28, size=96, seed=9, every=7))
### END HIDDEN TESTS
points

# %% hint="fix_training"
# `diagnose` names what keeps memory, `waiting_lines` what waits. `smooth`, the moving average, is in
# neither list: it shows the way. `line` may read; what is called at every step may not.
#
# For each number ask what the host must know *now*. `if a < b: b = a` is a minimum. A range is a minimum
# and a maximum, no history. One NaN makes a whole sum NaN, so the guard can look at a sum, once per line.
#
# `torch.minimum(self.best, loss, out=self.best)`, `torch.maximum(...)`, `self.hits += (...).sum()`
# without `.item()`, all starting as tensors on the device. In `line`, set `self.canary = [self.low,
# self.high]` and let `super().line(number)` write.

# %% reflect="where_else"
# ## Reflect
#
# Which numbers does your own loop read at every step (a progress bar, a `writer.add_scalar`, an early stop), and how often does
# anybody look? What would you miss if they were read every hundredth step?

# %% [markdown]
# ## Take away
#
# 1. A detached scalar keeps 512 B, a detached view the whole batch. `.clone()` the one, better keep neither.
# 2. `.item()`, an f-string, an `if`: no memory, one wait each. Every step is too often.
# 3. Sums, bests and ranges live on the device; read them when a line is written.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 10 | Logging tensors | +512.5 KiB and 1 wait per step here, for two numbers | a view keeps its batch; reading waits | running sums on the device, read every N steps |
#
# Next: **11 · Checkpointing with cached intermediates**.

# %% right="fix_meter" name="a running mean on the device"
class Meter:
    def __init__(self):
        self.mean, self.count = torch.zeros((), device=device), 0

    def add(self, value):
        self.count += 1
        self.mean.lerp_(value.detach(), 1 / self.count)

    def read(self):
        self.count = 0
        return self.mean.item()

# %% right="fix_meter" name="a new sum at each step, and no gradients"
class Meter:
    def __init__(self):
        self.total, self.count = 0.0, 0

    @torch.no_grad()
    def add(self, value):
        self.total = self.total + value
        self.count += 1

    def read(self):
        mean = float(self.total) / self.count
        self.total, self.count = 0.0, 0
        return mean

# %% right="fix_meter" name="copies of the numbers until the next line"
class Meter:
    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(value.detach().clone())

    def read(self):
        mean = torch.stack(self.values).mean().item()
        self.values.clear()
        return mean

# %% right="fix_meter" name="a preallocated row of numbers"
class Meter:
    def __init__(self):
        self.values, self.count = torch.zeros(64, device=device), 0

    def add(self, value):
        self.values[self.count] = value.detach()
        self.count += 1

    def read(self):
        values = self.values[: self.count].tolist()
        self.count = 0
        return sum(values) / len(values)

# %% wrong="fix_meter" name="item at every step" expects="2 of 3 points"
class Meter:
    def __init__(self):
        self.total, self.count = 0.0, 0

    def add(self, value):
        self.total += value.item()
        self.count += 1

    def read(self):
        mean = self.total / self.count
        self.total, self.count = 0.0, 0
        return mean

# %% wrong="fix_meter" name="moved to the host at every step" expects="2 of 3 points"
class Meter:
    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(value.detach().cpu())

    def read(self):
        mean = torch.stack(self.values).mean().item()
        self.values.clear()
        return mean

# %% wrong="fix_meter" name="a guard against NaN waits as well" expects="2 of 3 points"
class Meter:
    def __init__(self):
        self.total, self.count = torch.zeros((), device=device), 0

    def add(self, value):
        if not value.isnan():
            self.total += value.detach()
            self.count += 1

    def read(self):
        mean = self.total.item() / self.count
        self.total.zero_()
        self.count = 0
        return mean

# %% wrong="fix_meter" name="views until the next line" expects="peak too high"
class Meter:
    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(value.detach())

    def read(self):
        mean = torch.stack(self.values).mean().item()
        self.values.clear()
        return mean

# %% wrong="fix_meter" name="views for the whole run" expects="not flat"
class Meter:
    def __init__(self):
        self.values, self.start = [], 0

    def add(self, value):
        self.values.append(value.detach())

    def read(self):
        mean = torch.stack(self.values[self.start :]).mean().item()
        self.start = len(self.values)
        return mean

# %% wrong="fix_meter" name="views for the whole run, garbage collected" expects="not flat"
import gc

everything = []


class Meter:
    def __init__(self):
        self.total, self.count = torch.zeros((), device=device), 0

    def add(self, value):
        everything.append(value.detach())
        self.total += value.detach()
        self.count += 1
        gc.collect()
        gpu.empty_cache()

    def read(self):
        mean = self.total.item() / self.count
        self.total.zero_()
        self.count = 0
        return mean

# %% wrong="fix_meter" name="the sum of values with graphs" expects="keeps a graph"
class Meter:
    def __init__(self):
        self.total, self.count = torch.zeros((), device=device), 0

    def add(self, value):
        self.total += value
        self.count += 1

    def read(self):
        mean = self.total.item() / self.count
        self.total.zero_()
        self.count = 0
        return mean

# %% wrong="fix_meter" name="hands out tensors" expects="the types in the log"
class Meter:
    def __init__(self):
        self.total, self.count = torch.zeros((), device=device), 0

    def add(self, value):
        self.total += value.detach()
        self.count += 1

    def read(self):
        mean = self.total / self.count
        self.total.zero_()
        self.count = 0
        return mean

# %% wrong="fix_meter" name="only the last value" expects="wrong results"
class Meter:
    def add(self, value):
        self.value = value.detach()

    def read(self):
        return self.value.item()

# %% wrong="fix_meter" name="never begins anew" expects="wrong results"
class Meter:
    def __init__(self):
        self.total, self.count = torch.zeros((), device=device), 0

    def add(self, value):
        self.total += value.detach()
        self.count += 1

    def read(self):
        return self.total.item() / self.count

# %% wrong="fix_meter" name="a constant" expects="wrong results"
class Meter:
    def add(self, value):
        pass

    def read(self):
        return 6.2

# %% wrong="fix_meter" name="patches item, so that nothing waits" expects="tampered"
class Meter:
    def __init__(self):
        self.total, self.count = 0.0, 0

    def add(self, value):
        self.total += value.item()
        self.count += 1

    def read(self):
        mean = self.total / self.count
        self.total, self.count = 0.0, 0
        return mean


torch.Tensor.item = lambda tensor: tensor.detach()

# %% right="fix_training" name="one row of numbers, one read per line"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def __init__(self, seed, every):
            super().__init__(seed, every)
            infinity = float("inf")
            start = [infinity, 0.0, 0.0, infinity, -infinity, 0.0]
            self.book = torch.tensor(start, device=device)

        def fit(self, batches):
            best, norm, hits, low, high, total = self.book
            for number, (x, y) in enumerate(batches, start=1):
                loss, logits = training_step(self.model, self.optimizer, x, y)
                with torch.no_grad():
                    self.follow_loss(loss)
                    best.copy_(torch.minimum(best, loss))
                    norm.copy_(torch.maximum(norm, self.model[-1].weight.grad.norm()))
                    hits += (logits.argmax(1) == y).sum()
                    low.copy_(torch.minimum(low, logits[0, 0]))
                    high.copy_(torch.maximum(high, logits[0, 0]))
                    total += loss
                self.seen += len(y)
                if number % self.every == 0:
                    self.log.append(self.line(number))
            return self.log

        def line(self, number):
            best, norm, hits, low, high, total, smooth = torch.cat([self.book, self.smooth.view(1)]).tolist()
            if total != total:
                raise FloatingPointError("the loss is not finite")
            accuracy = hits / self.seen
            return dict(step=number, smooth=smooth, best=best, norm=norm, accuracy=accuracy, low=low, high=high)

    return Repaired(seed, every)

# %% right="fix_training" name="copies of the numbers until the next line"
class Patient(Training):
    """Keeps four detached numbers per step, and looks at them when a line is due."""

    def __init__(self, seed, every):
        super().__init__(seed, every)
        self.waiting, self.low, self.high = [], float("inf"), -float("inf")

    def guard(self, loss):
        pass

    def keep_best(self, loss):
        self.waiting.append([loss])

    def follow_norm(self):
        self.waiting[-1].append(self.model[-1].weight.grad.norm())

    def follow_accuracy(self, logits, y):
        self.waiting[-1].append((logits.argmax(1) == y).sum())
        self.seen += len(y)

    def watch_canary(self, logits):
        self.waiting[-1].append(logits[0, 0].clone())

    def show_progress(self, number, loss):
        pass

    def line(self, number):
        rows = torch.stack([torch.stack([value.float() for value in row]) for row in self.waiting]).tolist()
        self.waiting.clear()
        losses, norms, hits, canary = zip(*rows)
        if any(loss != loss for loss in losses):
            raise FloatingPointError("the loss is not finite")
        self.best, self.norm = min(self.best, *losses), max(self.norm, *norms)
        self.hits += sum(hits)
        self.low, self.high = min(self.low, *canary), max(self.high, *canary)
        self.canary = [torch.tensor(self.low), torch.tensor(self.high)]
        return super().line(number)


def repaired(seed=0, every=5):
    return Patient(seed, every)

# %% right="fix_training" name="where and clamp in place of minimum"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def __init__(self, seed, every):
            super().__init__(seed, every)
            self.healthy = torch.ones((), dtype=torch.bool, device=device)
            self.best = torch.full((), 1e30, device=device)
            self.norm = torch.zeros((), device=device)
            self.hits = torch.zeros((), dtype=torch.int64, device=device)

        def guard(self, loss):
            self.healthy &= torch.isfinite(loss.detach())

        def keep_best(self, loss):
            self.best = torch.where(loss < self.best, loss, self.best)

        def follow_norm(self):
            self.norm = torch.maximum(self.norm, self.model[-1].weight.grad.norm())

        def follow_accuracy(self, logits, y):
            self.hits = self.hits + (logits.argmax(1) == y).sum()
            self.seen += len(y)

        def watch_canary(self, logits):
            kept = torch.stack([*self.canary, logits[0, 0]])
            self.canary = [kept.amin(), kept.amax()]

        def show_progress(self, number, loss):
            pass

        def line(self, number):
            if not self.healthy:
                raise FloatingPointError("the loss is not finite")
            return super().line(number)

    return Repaired(seed, every)

# %% wrong="fix_training" name="unchanged" expects="not flat"
def repaired(seed=0, every=5):
    return Training(seed, every)

# %% wrong="fix_training" name="only the canary is cloned" expects="too many syncs"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def watch_canary(self, logits):
            self.canary.append(logits[0, 0].clone())

    return Repaired(seed, every)

# %% wrong="fix_training" name="only the waits" expects="not flat"
def repaired(seed=0, every=5):
    class Repaired(Patient):
        def watch_canary(self, logits):
            super().watch_canary(logits)
            kept.append(logits)

    return Repaired(seed, every)


kept = []


class Patient(Training):
    def __init__(self, seed, every):
        super().__init__(seed, every)
        self.sum = torch.zeros((), device=device)
        self.best = torch.full((), float("inf"), device=device)
        self.norm, self.hits = torch.zeros(2, device=device)

    def guard(self, loss):
        self.sum += loss.detach()

    def keep_best(self, loss):
        self.best = torch.minimum(self.best, loss)

    def follow_norm(self):
        self.norm = torch.maximum(self.norm, self.model[-1].weight.grad.norm())

    def follow_accuracy(self, logits, y):
        self.hits += (logits.argmax(1) == y).sum()
        self.seen += len(y)

    def show_progress(self, number, loss):
        pass

    def line(self, number):
        super().guard(self.sum)
        return super().line(number)

# %% wrong="fix_training" name="a history of cloned scores" expects="3 of 5 points"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def __init__(self, seed, every):
            super().__init__(seed, every)
            self.sum = torch.zeros((), device=device)
            self.best = torch.full((), float("inf"), device=device)
            self.norm, self.hits = torch.zeros(2, device=device)

        def guard(self, loss):
            self.sum += loss.detach()

        def keep_best(self, loss):
            self.best = torch.minimum(self.best, loss)

        def follow_norm(self):
            self.norm = torch.maximum(self.norm, self.model[-1].weight.grad.norm())

        def follow_accuracy(self, logits, y):
            self.hits += (logits.argmax(1) == y).sum()
            self.seen += len(y)

        def watch_canary(self, logits):
            self.canary.append(logits[0, 0].clone())

        def show_progress(self, number, loss):
            pass

        def line(self, number):
            super().guard(self.sum)
            return super().line(number)

    return Repaired(seed, every)

# %% wrong="fix_training" name="memory, and three of the five waits" expects="2 of 5 points"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def __init__(self, seed, every):
            super().__init__(seed, every)
            self.hits = torch.zeros((), device=device)
            self.norm = torch.zeros((), device=device)

        def follow_norm(self):
            self.norm = torch.maximum(self.norm, self.model[-1].weight.grad.norm())

        def follow_accuracy(self, logits, y):
            self.hits += (logits.argmax(1) == y).sum()
            self.seen += len(y)

        def watch_canary(self, logits):
            kept = torch.stack([*self.canary, logits[0, 0]])
            self.canary = [kept.amin(), kept.amax()]

        def show_progress(self, number, loss):
            pass

    return Repaired(seed, every)

# %% wrong="fix_training" name="no guard" expects="stopped when diverged"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def guard(self, loss):
            pass

        def watch_canary(self, logits):
            kept = torch.stack([*self.canary, logits[0, 0]])
            self.canary = [kept.amin(), kept.amax()]

    return Repaired(seed, every)

# %% wrong="fix_training" name="looks only at every fifth step" expects="wrong results"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def __init__(self, seed, every):
            super().__init__(seed, every)
            self.steps = 0

        def watch_canary(self, logits):
            self.steps += 1
            if self.steps % self.every == 0:
                self.canary.append(logits[0, 0].clone())

    return Repaired(seed, every)

# %% wrong="fix_training" name="forgets the canary's history" expects="wrong results"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def watch_canary(self, logits):
            self.canary = [*self.canary, logits[0, 0]][-2:]

    return Repaired(seed, every)

# %% wrong="fix_training" name="writes tensors" expects="the types in the log"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def line(self, number):
            line = super().line(number)
            return {**line, "smooth": self.smooth.clone()}

    return Repaired(seed, every)

# %% wrong="fix_training" name="trains on nothing" expects="wrong results"
def repaired(seed=0, every=5):
    class Repaired(Training):
        def fit(self, batches):
            for _ in batches:
                pass
            return self.log

    return Repaired(seed, every)

# %% wrong="fix_training" name="collects garbage at every step" expects="not flat"
import gc


def repaired(seed=0, every=5):
    class Repaired(Training):
        def show_progress(self, number, loss):
            gc.collect()
            gpu.empty_cache()

    return Repaired(seed, every)

# %% wrong="fix_training" name="mends the given class itself" expects="tampered"
def repaired(seed=0, every=5):
    def watch_canary(self, logits):
        kept = torch.stack([*self.canary, logits[0, 0]])
        self.canary = [kept.amin(), kept.amax()]

    Training.watch_canary = watch_canary
    return Training(seed, every)
