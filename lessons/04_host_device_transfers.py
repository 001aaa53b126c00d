# ---
# title: Host-device transfers
# minutes: 20
# ---

# %% [markdown]
# # 04 · Are we there yet?
#
# {{badges}}
#
# **Symptom:** nothing grows, nothing is wrong with the model, and GPU and Python take turns being idle.
#
# After this lesson you can
# - count the copies and the waits of a training step, and find the line of each,
# - tell a transfer that waits from one that only looks as if it did not,
# - take every needless one out, and prove it by the count.
#
# About 20 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("04_host_device_transfers")

# %% [markdown]
# ## The scene
#
# Python only *orders* work from the GPU and runs ahead. Until a line asks for a result: then it stops until everything ordered so far
# is done, and the GPU gets no new orders meanwhile. Like children on the back seat, "are we there yet?", in a car
# that must stop to answer. This loop asks a lot.

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


def pin(tensor):
    """A page-locked copy on the host, which the GPU can fetch from by itself."""
    return tensor if device.type == "cpu" else tensor.pin_memory()


def batches(count, size=256, seed=0, pinned=False):
    """Yield `count` pairs (features, labels) on the host, as a data loader does."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(size, 64, generator=random)
        y = torch.randint(10, (size,), generator=random)
        yield (pin(x), pin(y)) if pinned else (x, y)


def new_model(seed=0):
    torch.manual_seed(seed)
    return Classifier().to(device)


def use_of_features():
    """Every third feature is known to be noise."""
    return (torch.arange(64) % 3 > 0).float()

# %% [markdown]
# And the tools to look at it with:

# %% given="tools"
def measure(work, steps=20, size=256, seed=0, pinned=False):
    """Record `work(model, batches)`. Returns its trace and what it returned."""
    model = new_model(seed)
    with ag.record(warmup=3) as trace:
        result = work(model, trace.steps(batches(steps, size, seed, pinned)))
    return trace, result


def per_step(trace, column):
    """Mean over the steps after warm-up."""
    return getattr(trace, column)[trace.warmup:].mean().item()


def place_of_work(trace, size):
    """Where batches were worked on: every step has to copy a whole one to the GPU."""
    batch = size * (64 * 4 + 8)  # 64 floats and a label each
    copied = trace.source == "cpu" or (trace.h2d_bytes >= batch).all()
    return "the device" if copied else "the host"

# %% [markdown]
# The loop. Read it as a reviewer would: five of its lines stop and ask.

# %% given="leak"
def chatty_train(model, batches):
    """Train one pass. Returns the loss of every batch, and how many were right."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses, correct = [], 0
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * use_of_features().to(device))
        loss = F.cross_entropy(logits, y)
        if loss.isnan():
            raise RuntimeError("the loss is not a number")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        correct += sum((logits.argmax(1) == y).tolist())
    return losses, correct

# %% [markdown]
# ## Predict
#
# Count for yourself: how often per step does Python stop and wait for the GPU?

# %%
ag.predict("Waits per step", ["1", "2", "4", "6"])

# %% [markdown]
# ## Run and see

# %%
before, (losses, correct) = measure(chatty_train)
waits = f"{per_step(before, 'syncs'):g}"
ag.plot(before, counts=("syncs", "h2d_count", "d2h_count"), outcome=waits)

# %% [markdown]
# **Syncs** are waits of the host for the device. Copies are counted by direction. The memory plot would show you nothing: each
# copy allocates its destination and frees it like any tensor. `ag.diagnose` agrees:

# %%
ag.diagnose(before)

# %% [markdown]
# So ask for the lines. PyTorch has a detector, `set_sync_debug_mode`; this helper collects its warnings by line.

# %% given="detector"
import linecache
import warnings
from collections import Counter


def waiting_lines(work):
    """Run `work()` under PyTorch's sync debug mode. Prints the lines that waited."""
    gpu = ag.device_module()
    if not hasattr(gpu, "set_sync_debug_mode"):
        return print("no GPU, real or simulated: nothing to wait for")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gpu.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            gpu.set_sync_debug_mode("default")
    told = [w for w in caught if "called a synchronizing" in str(w.message)]
    lines = Counter((w.filename, w.lineno) for w in told)
    if not lines:
        print("no line")
    for (file, line), count in lines.most_common():
        print(f"{count:4} x  {linecache.getline(file, line).strip()}")

# %%
model = new_model()
waiting_lines(lambda: chatty_train(model, batches(10)))

# %% [markdown]
# ## Why
#
# Ten steps, so divide by ten. A plain `.to(device)` waits. Any *value* that Python wants to see waits: `.item()`, `.tolist()`, and
# `if` on a tensor, which hides best. And the list of used features is built on the host and sent anew at every step,
# although it never changes.
#
# Which other innocents wait? One recording, one operation per step:

# %%
def show(*things):
    """Stands for print: it makes the text and keeps quiet."""
    return " ".join(map(str, things))


x = torch.randn(100, device=device)
operations = {
    "x.shape, len(x), x.dtype": lambda: (x.shape, len(x), x.dtype),
    "x.sum()": lambda: x.sum(),
    "x.sum().item()": lambda: x.sum().item(),
    "float(x[0])": lambda: float(x[0]),
    "if x.sum() > 0": lambda: bool(x.sum() > 0),
    "x.tolist()": lambda: x.tolist(),
    "print(x)": lambda: show(x),
    "f'{x.sum():.2f}'": lambda: f"{x.sum():.2f}",
    "x.cpu()": lambda: x.cpu(),
    "x[x > 0]": lambda: x[x > 0],
    "x.nonzero()": lambda: x.nonzero(),
    "torch.where(x > 0, x, 0)": lambda: torch.where(x > 0, x, 0),
    "x.clamp(max=1)": lambda: x.clamp(max=1),
    "torch.tensor([1.], device=device)": lambda: torch.tensor([1.0], device=device),
    "torch.ones(1, device=device)": lambda: torch.ones(1, device=device),
}

# %%
with ag.record(warmup=0) as trace:
    for name in trace.steps(operations):
        operations[name]()
print(f"{'':35}{'waits':>6}{'to GPU':>8}{'to host':>8}")
for name, step in zip(operations, trace.samples):
    print(f"{name:35}{step.syncs:6}{step.h2d_count:8}{step.d2h_count:8}")

# %% [markdown]
# Shapes are free: the host knows them. So is arithmetic. Printing reads every value, one by one. `x[x > 0]` must know how many there are
# before Python can go on; `torch.where` keeps the shape and need not ask.
#
# **Folklore:** "pin the memory and say `non_blocking=True`, then transfers are free." Four ways to move one batch of 1.1 MiB:

# %%
import time

gpu = ag.device_module()
pageable = torch.randn(1100, 256)
pinned = pin(pageable)
ways = {
    "x.to(device)": lambda: pageable.to(device),
    "x.to(device, non_blocking=True)": lambda: pageable.to(device, non_blocking=True),
    "pin by hand, non_blocking=True":
        lambda: pin(pageable).to(device, non_blocking=True),
    "loader pins, non_blocking=True": lambda: pinned.to(device, non_blocking=True),
}


def pinned_so_far():
    """Bytes of pinned blocks handed out since the program started."""
    return getattr(gpu, "host_memory_stats", dict)().get("active_bytes.allocated", 0)


def real_time(move):
    """Microseconds per call; nothing where the GPU is not real."""
    if device.type != "cuda":
        return ""
    gpu.synchronize()
    start = time.perf_counter()
    for _ in range(100):
        move()
    gpu.synchronize()
    return f"{1e4 * (time.perf_counter() - start):7.0f} us"

# %%
print(f"{'':33}waits   pinned per step")
for name, move in ways.items():
    start = pinned_so_far()
    trace = ag.record(move, steps=10)
    nbytes = ag.human((pinned_so_far() - start) / len(trace.samples))
    print(f"{name:33}{per_step(trace, 'syncs'):5g}{nbytes:>18}   {real_time(move)}")

# %% [markdown]
# - Without pinned memory `non_blocking=True` counts as a wait: the driver must stage the bytes first. Only up to 64 KB does NVIDIA
#   promise that Python goes on at once (an H200 took 2 MiB along, and waited for 4).
# - Pinning by hand moves the work: `pin_memory()` copies every byte too, on the host, at once, into a block rounded up to a power
#   of two. By [PyTorch's own guide](https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html) that can take twice
#   the time of a plain `.to(device)`. Only a real GPU shows it: a last column appears there.
# - It pays where somebody *else* pins: `DataLoader(pin_memory=True)` has a thread for it.

# %% [markdown]
# Does the detector see the pageable one?

# %%
unseen = ways["x.to(device, non_blocking=True)"]
waiting_lines(unseen)
print("recorded:", per_step(ag.record(unseen, steps=5), "syncs"), "wait per step")

# %% [markdown]
# It does not: PyTorch knows nothing of what happens inside the driver. Trust counts, then the detector, then your eyes.
#
# **Folklore:** "`.cpu()` takes it off the GPU." It takes the *number* off:

# %%
model, x = new_model(), torch.randn(256, 64, device=device)
kept = []
for name, keep in {"out.cpu()": lambda out: out.cpu(),
                   "out.detach().cpu()": lambda out: out.detach().cpu()}.items():
    trace = ag.record(lambda: kept.append(keep(model(x))), steps=8)
    graph = "a graph" if kept[-1].requires_grad else "no graph"
    print(f"{name:18} has {graph:8}, GPU grows {ag.human(trace.slope):>9} per step")
    kept.clear()

# %% [markdown]
# ## Exercise: `fix_train`
#
# Write the two lines that keep the books. Five minutes.
#
# - The same losses and the same count at the end.
# - Two copies to the device per step (`x` and `y`), none back; no waits but those of these two copies.
# - Read the numbers once, after the loop.

# %% exercise="fix_train"
def train(model, batches):
    """Train one pass. Returns the loss of every batch, and how many were right."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)  # once
    losses, correct = [], torch.zeros((), dtype=torch.int64, device=device)
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ### BEGIN SOLUTION
        losses.append(loss.detach())
        correct += (logits.argmax(1) == y).sum()
        ### END SOLUTION
    losses = torch.stack(losses).tolist()
    if any(loss != loss for loss in losses):
        raise RuntimeError("a loss is not a number")
    return losses, correct.item()

# %%
after, _ = measure(train)
ag.plot(before=before, after=after, counts=("syncs", "h2d_count", "d2h_count"))

# %% [markdown]
# The marks at the far right are what you read after the loop: two waits in all, instead of two per step.

# %% check="fix_train" points=3
def verdict(steps, size, seed):
    what = dict(exercise="fix_train")
    _, expected = measure(chatty_train, steps, size, seed)
    trace, result = measure(train, steps, size, seed)
    ag.check.same(result, expected, rtol=1e-4, what="losses and count", **what)
    ag.check.flat(trace, per_step=2 * 512, steps=steps, **what)  # two stored scalars
    place = place_of_work(trace, size)
    ag.check.same(place, "the device", what="place of work", **what)
    ag.check.copies(trace, h2d=2, d2h=0, **what)
    if 2 < per_step(trace, "syncs") <= 3:
        print("1 of 3 points: one wait per step is left. Ask waiting_lines(...)")
        return 1
    ag.check.syncs(trace, per_step=2, **what)
    return 3


score = verdict(steps=12, size=256, seed=0)
### BEGIN HIDDEN TESTS
score = min(score, verdict(steps=17, size=100, seed=3))
### END HIDDEN TESTS
score  # points

# %% [markdown]
# Stuck? One more hint at each run: where to look, which concept, which call.

# %% hint="fix_train"
# The lines after the loop already read everything. What do they expect to find in
# `losses` and in `correct`?
#
# A number that Python never looks at needs no wait. Keep it where it was made, as a
# tensor, and add on the device as well.
#
# `losses.append(loss.detach())`, and `correct += (logits.argmax(1) == y).sum()`: no
# `.item()`, no `.tolist()`.

# %% [markdown]
# ## Turn the knobs
#
# How often do you need to *see* the loss? And which of the four ways to move a batch lets Python run ahead?

# %%
def rerun(look_every=1, way="to(device)", steps=20):
    def loop(model, batches):
        for number, (x, y) in enumerate(batches):
            if way == "pin by hand":
                x, y = pin(x), pin(y)
            later = way != "to(device)"
            x, y = x.to(device, non_blocking=later), y.to(device, non_blocking=later)
            loss = F.cross_entropy(model(x), y)
            if number % look_every == 0:
                loss.item()
    trace, _ = measure(loop, steps, 64, pinned=way == "loader pins")
    return ag.plot(trace, counts=("syncs", "h2d_count"), prediction=False)


how = ["to(device)", "non_blocking only", "pin by hand", "loader pins"]
ag.explore(rerun, look_every=(1, 10), way=how, steps=(10, 40, 5))

# %% [markdown]
# One look in ten steps costs a tenth of the looking. With a loader that pins, and nothing to look at, Python never stops at all.
#
# ## Now at scale
#
# A trainer with class weights, clipped gradients, a confusion matrix and a log line every `every` steps. Its loader pins, so
# it could run ahead for as long as it likes. It does not:

# %% given="trainer"
class Trainer:
    """Trains one pass and keeps a log and a confusion matrix."""

    def __init__(self, every=5, seed=0):
        self.every, self.model = every, new_model(seed)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.weights = [1.0 + number / 10 for number in range(10)]
        self.confusion = torch.zeros(100, dtype=torch.int64)
        self.log = []

    def to_device(self, x, y):
        """Move a batch."""
        return x.to(device), y.to(device)

    def loss(self, logits, y):
        """Cross entropy, rare classes weighted."""
        weights = torch.tensor(self.weights, device=device)
        return F.cross_entropy(logits, y, weight=weights)

    def clip(self, limit=0.4):
        """Scale the gradients down to a norm of at most `limit`. Returns the norm."""
        gradients = [p.grad for p in self.model.parameters()]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        if norm > limit:
            for gradient in gradients:
                gradient.mul_(limit / (norm + 1e-6))
        return norm

    def count(self, logits, y):
        """Add the batch to the confusion matrix: row is the label, column the guess."""
        guesses = logits.argmax(1).cpu()
        self.confusion += torch.bincount(10 * y.cpu() + guesses, minlength=100)

    def report(self, step, loss, norm):
        """Log every `every` steps."""
        line = {"step": step, "loss": loss.item(), "norm": norm.item()}
        if step % self.every == 0:
            self.log.append(line)

    def fit(self, batches):
        """Train for one pass. Returns the log and the confusion matrix, as numbers."""
        for step, (x, y) in enumerate(batches):
            x, y = self.to_device(x, y)
            logits = self.model(x)
            loss = self.loss(logits, y)
            self.optimizer.zero_grad()
            loss.backward()
            norm = self.clip()
            self.optimizer.step()
            self.count(logits.detach(), y)
            self.report(step, loss.detach(), norm)
        return self.log, self.confusion.view(10, 10).tolist()


def start(kind, every, seed):
    """Build the trainer: `kind` is Trainer, or the function `repaired`."""
    if not isinstance(kind, type):
        with ag.record():  # says in one line that an exercise is still empty
            kind = kind()
    return kind(every=every, seed=seed)


def run(kind, steps=20, size=128, seed=0, every=5):
    """Record one pass over pinned batches. Returns trace, result, trainer."""
    trainer = start(kind, every, seed)
    with ag.record(warmup=3) as trace:
        result = trainer.fit(trace.steps(batches(steps, size, seed, pinned=True)))
    return trace, result, trainer

# %%
busy, _, _ = run(Trainer)
for column in ("syncs", "h2d_count", "d2h_count"):
    print(f"{column:10} {per_step(busy, column):g} per step")
trainer = Trainer()
waiting_lines(lambda: trainer.fit(batches(10, pinned=True)))

# %% [markdown]
# ## Exercise: `fix_trainer`
#
# Return a subclass of `Trainer` that waits only when it logs. Override what the lines above accuse.
#
# - The same log and the same confusion matrix.
# - Per step two copies to the device; per *log line* at most two waits and two copies back.
#
# One trap is set: moving a wait to the GPU does not remove it. Count again after each change.

# %% exercise="fix_trainer"
def repaired():
    """Return a subclass of Trainer that runs ahead of the GPU between two log lines."""
    ### BEGIN SOLUTION
    class Repaired(Trainer):
        def __init__(self, every=5, seed=0):
            super().__init__(every, seed)
            self.weights = torch.tensor(self.weights, device=device)
            self.confusion = self.confusion.to(device)

        def to_device(self, x, y):
            return x.to(device, non_blocking=True), y.to(device, non_blocking=True)

        def loss(self, logits, y):
            return F.cross_entropy(logits, y, weight=self.weights)

        def clip(self, limit=0.4):
            return nn.utils.clip_grad_norm_(self.model.parameters(), limit)

        def count(self, logits, y):
            pairs = 10 * y + logits.argmax(1)
            self.confusion.index_add_(0, pairs, torch.ones_like(pairs))

        def report(self, step, loss, norm):
            if step % self.every == 0:
                super().report(step, loss, norm)

    return Repaired
    ### END SOLUTION

# %%
quiet, _, _ = run(repaired)
ag.plot(before=busy, after=quiet, counts=("syncs", "h2d_count", "d2h_count"))

# %% check="fix_trainer" points=5
def verdict_on_trainer(steps, size, seed, every):
    what = dict(exercise="fix_trainer")
    leak, expected, _ = run(Trainer, steps, size, seed, every)
    trace, result, trainer = run(repaired, steps, size, seed, every)
    ag.check.same(result, expected, rtol=1e-4, what="log and confusion matrix", **what)
    ag.check.flat(trace, per_step=2 * 512, steps=steps, **what)
    ag.check.device(trainer.model, device, **what)
    place = place_of_work(trace, size)
    ag.check.same(place, "the device", what="place of work", **what)
    most = 2 / every + 0.2  # the recorded steps may begin or end with a log line
    waits, were = per_step(trace, "syncs"), per_step(leak, "syncs")
    if most < waits <= were / 2:
        print(f"2 of 5 points: {waits:g} waits per step instead of {were:g}, "
              f"and {2 / every:g} would do. Ask waiting_lines(...) what is left")
        return 2
    ag.check.syncs(trace, per_step=most, **what)
    ag.check.copies(trace, h2d=2, d2h=most, **what)
    return 5


score = verdict_on_trainer(steps=20, size=128, seed=0, every=5)
### BEGIN HIDDEN TESTS
score = min(score, verdict_on_trainer(steps=23, size=48, seed=4, every=4))
### END HIDDEN TESTS
score  # points

# %% hint="fix_trainer"
# Each accused line stands in a method of its own: `to_device`, `loss`, `clip`,
# `count`, `report`. Take them one by one and run `waiting_lines` in between.
#
# Ask of each: does the host need this value *now*? What never changes goes to the
# device once. An `if` becomes arithmetic that also does the right thing when
# nothing is to be done. What is counted can be counted on the device, unless the
# operation must know a size first, as `bincount` does.
#
# `non_blocking=True` for pinned batches; weights in `__init__`;
# `nn.utils.clip_grad_norm_` clips without an `if`; `index_add_` into a matrix on
# the device; `report` only when `step % self.every == 0`.

# %% reflect="where_else"
# ## Reflect
#
# Put `waiting_lines` around ten steps of your own training loop, or imagine it. Which line is at the top, and who reads that
# number, how often?

# %% [markdown]
# ## Take away
#
# 1. A value that Python looks at is a wait: `item`, `tolist`, `print`, f-strings, and every `if` on a tensor.
# 2. Constants go to the device once; results come back once, or every N steps.
# 3. For large batches `non_blocking` helps only from pinned memory, pinning only if somebody else does it. And `.cpu()` is not `detach()`.

# %%
print(f"waits per step: loop {waits}, trainer {per_step(busy, 'syncs'):g}")

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 4 | Host-device transfers | nothing grows; 6 waits per step here, 2 needed | values read, constants sent at every step | keep them on the device; read once, or every N steps |
#
# Next: **05 · Non-contiguous views**.

# %% right="fix_train" name="lists of tensors, counted after the loop"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    losses, hits = [], 0
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        hits = hits + (logits.argmax(1) == y).sum().detach()
    return torch.stack(losses).tolist(), int(hits)

# %% right="fix_train" name="the loss itself, after backward"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = (torch.arange(64, device=device) % 3 > 0).float()
    losses, correct = [], torch.zeros((), device=device)
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
        correct.add_((logits.argmax(1) == y).sum())
    return torch.stack(losses).detach().cpu().tolist(), correct.item()

# %% right="fix_train" name="pinned and non-blocking into preallocated buffers"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    book, count = torch.zeros(2, 1000, device=device), 0
    for x, y in batches:
        x = x.pin_memory().to(device, non_blocking=True)
        y = y.pin_memory().to(device, non_blocking=True)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        book[0, count] = loss.detach()
        book[1, count] = (logits.argmax(1) == y).sum()
        count += 1
    losses, hits = book[:, :count].tolist()
    return losses, int(sum(hits))

# %% wrong="fix_train" name="unchanged" expects="too many copies"
def train(model, batches):
    return chatty_train(model, batches)

# %% wrong="fix_train" name="one item left" expects="1 of 3 points"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    losses, correct = [], torch.zeros((), device=device)
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        correct += (logits.argmax(1) == y).sum()
    return losses, correct.item()

# %% wrong="fix_train" name="both items left" expects="too many syncs"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    losses, correct = [], 0
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        correct += int((logits.argmax(1) == y).sum())
    return losses, correct

# %% wrong="fix_train" name="copied back without waiting, at every step" expects="too many copies"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    losses, correct = [], torch.zeros((), device=device)
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().to("cpu", non_blocking=True))
        correct += (logits.argmax(1) == y).sum()
    torch.get_device_module(device).synchronize()
    return torch.stack(losses).tolist(), correct.item()

# %% wrong="fix_train" name="the mask sent at every step" expects="too many copies"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses, correct = [], torch.zeros((), device=device)
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * use_of_features().to(device))
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        correct += (logits.argmax(1) == y).sum()
    return torch.stack(losses).tolist(), correct.item()

# %% wrong="fix_train" name="trains on the host" expects="place of work"
def train(model, batches):
    model.cpu()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features()
    losses, correct = [], 0
    for x, y in batches:
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        correct += int((logits.argmax(1) == y).sum())
    return losses, correct

# %% wrong="fix_train" name="keeps the outputs to count later" expects="not flat"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    losses, outputs = [], []
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        outputs.append((logits.detach(), y))
    correct = sum((logits.argmax(1) == y).sum() for logits, y in outputs)
    return torch.stack(losses).tolist(), correct.item()

# %% wrong="fix_train" name="looks at every fifth batch only" expects="wrong results"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    used = use_of_features().to(device)
    losses, correct = [], torch.zeros((), device=device)
    for number, (x, y) in enumerate(batches):
        x, y = x.to(device), y.to(device)
        logits = model(x * used)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 5 == 0:
            losses.append(loss.item())
            correct += (logits.argmax(1) == y).sum()
    return losses, correct.item()

# %% wrong="fix_train" name="pulls everything first" expects="not flat"
def train(model, batches):
    return chatty_train(model, [(x.to(device), y.to(device)) for x, y in batches])

# %% wrong="fix_train" name="a constant" expects="wrong results"
def train(model, batches):
    return [2.3 for _ in batches], 512

# %% wrong="fix_train" name="hides the waits from the counter" expects="tampered"
def train(model, batches):
    return chatty_train(model, batches)

torch.Tensor.item = torch.Tensor.tolist

# %% wrong="fix_train" name="collects garbage and empties the cache at every step" expects="too many copies"
import gc


def train(model, batches):
    def tidied():
        for pair in batches:
            gc.collect()
            torch.get_device_module(device).empty_cache()
            yield pair
    return chatty_train(model, tidied())

# %% right="fix_trainer" name="a buffer of weights, counted by a product of one-hot rows"
def repaired():
    class Ahead(Trainer):
        def __init__(self, every=5, seed=0):
            super().__init__(every, seed)
            self.model.register_buffer("weights", torch.tensor(self.weights).to(device))
            self.classes = torch.arange(10, device=device)
            self.confusion = torch.zeros(10, 10, device=device)

        def to_device(self, *tensors):
            return [tensor.to(device, non_blocking=True) for tensor in tensors]

        def loss(self, logits, y):
            return F.cross_entropy(logits, y, weight=self.model.weights)

        def clip(self, limit=0.4):
            gradients = [p.grad for p in self.model.parameters()]
            norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
            scale = (limit / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(scale)
            return norm

        def count(self, logits, y):
            labels = (y[:, None] == self.classes).float()
            guesses = (logits.argmax(1)[:, None] == self.classes).float()
            self.confusion += labels.T @ guesses

        def report(self, step, loss, norm):
            if step % self.every == 0:
                loss, norm = torch.stack([loss, norm]).tolist()
                self.log.append({"step": step, "loss": loss, "norm": norm})

    return Ahead

# %% right="fix_trainer" name="logs at the end"
def repaired():
    class Later(Trainer):
        def fit(self, batches):
            self.weights = torch.tensor(self.weights, device=device)
            self.confusion, kept = self.confusion.to(device), []
            for step, (x, y) in enumerate(batches):
                x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
                logits = self.model(x)
                loss = F.cross_entropy(logits, y, weight=self.weights)
                self.optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(self.model.parameters(), 0.4)
                self.optimizer.step()
                pairs = 10 * y + logits.detach().argmax(1)
                self.confusion.scatter_add_(0, pairs, torch.ones_like(pairs))
                if step % self.every == 0:
                    kept.append((step, loss.detach(), norm))
            for step, loss, norm in kept:
                super().report(step, loss, norm)
            return self.log, self.confusion.view(10, 10).tolist()

    return Later

# %% right="fix_trainer" name="torch.where in place of the if"
def repaired():
    class Where(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.on_device = torch.tensor(self.weights, device=device)
            self.table = torch.zeros(100, dtype=torch.int64, device=device)
            self.one = torch.ones((), device=device)

        def to_device(self, x, y):
            return (t.to(device, non_blocking=True) for t in (x, y))

        def loss(self, logits, y):
            return F.cross_entropy(logits, y, weight=self.on_device)

        def clip(self, limit=0.4):
            norms = torch._foreach_norm([p.grad for p in self.model.parameters()])
            norm = torch.stack(norms).norm()
            scale = torch.where(norm > limit, limit / (norm + 1e-6), self.one)
            for p in self.model.parameters():
                p.grad.mul_(scale)
            return norm

        def count(self, logits, y):
            pairs = 10 * y + logits.argmax(1)
            self.table.scatter_add_(0, pairs, torch.ones_like(pairs))

        def report(self, step, loss, norm):
            if step % self.every == 0:
                super().report(step, loss, norm)

        def fit(self, batches):
            log, _ = super().fit(batches)
            return log, self.table.view(10, 10).tolist()

    return Where

# %% wrong="fix_trainer" name="unchanged" expects="too many syncs"
def repaired():
    return Trainer

# %% wrong="fix_trainer" name="bincount on the device still waits" expects="2 of 5 points"
def repaired():
    class Repaired(Trainer):
        def __init__(self, every=5, seed=0):
            super().__init__(every, seed)
            self.weights = torch.tensor(self.weights, device=device)
            self.confusion = self.confusion.to(device)

        def to_device(self, x, y):
            return x.to(device, non_blocking=True), y.to(device, non_blocking=True)

        def loss(self, logits, y):
            return F.cross_entropy(logits, y, weight=self.weights)

        def clip(self, limit=0.4):
            return nn.utils.clip_grad_norm_(self.model.parameters(), limit)

        def count(self, logits, y):
            pairs = 10 * y + logits.argmax(1)
            self.confusion += torch.bincount(pairs, minlength=100)

        def report(self, step, loss, norm):
            if step % self.every == 0:
                super().report(step, loss, norm)

    return Repaired

# %% wrong="fix_trainer" name="non_blocking everywhere and nothing else" expects="too many syncs"
def repaired():
    class Repaired(Trainer):
        def to_device(self, x, y):
            return x.to(device, non_blocking=True), y.to(device, non_blocking=True)

    return Repaired

# %% wrong="fix_trainer" name="does not clip any more" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def clip(self, limit=0.4):
            return torch.stack([p.grad.norm() for p in self.model.parameters()]).norm()

    return Repaired

# %% wrong="fix_trainer" name="scales the gradients up as well as down" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def clip(self, limit=0.4):
            gradients = [p.grad for p in self.model.parameters()]
            norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
            for gradient in gradients:
                gradient.mul_(limit / (norm + 1e-6))
            return norm

    return Repaired

# %% wrong="fix_trainer" name="logs half as often" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def report(self, step, loss, norm):
            if step % (2 * self.every) == 0:
                super().report(step, loss, norm)

    return Repaired

# %% wrong="fix_trainer" name="counts every other batch" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        calls = 0

        def count(self, logits, y):
            self.calls += 1
            if self.calls % 2:
                super().count(logits, y)

    return Repaired

# %% wrong="fix_trainer" name="keeps all logits for later" expects="not flat"
def repaired():
    class Repaired(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.kept = []

        def count(self, logits, y):
            self.kept.append((logits, y))

        def fit(self, batches):
            log, _ = super().fit(batches)
            for logits, y in self.kept:
                super().count(logits, y)
            return log, self.confusion.view(10, 10).tolist()

    return Repaired

# %% wrong="fix_trainer" name="trains on the host" expects="wrong device"
def repaired():
    class Repaired(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.model.cpu()

        def to_device(self, x, y):
            return x, y

        def loss(self, logits, y):
            return F.cross_entropy(logits, y, weight=torch.tensor(self.weights))

    return Repaired

# %% wrong="fix_trainer" name="silences the detector" expects="too many syncs"
def repaired():
    class Repaired(Trainer):
        def fit(self, batches):
            ag.device_module().set_sync_debug_mode("default")
            return super().fit(batches)

    return Repaired

# %% wrong="fix_trainer" name="replaces the count" expects="tampered"
def repaired():
    return Trainer

ag.check.syncs = lambda *args, **kwargs: 5

# %% wrong="fix_trainer" name="collects garbage and empties the cache at every step" expects="too many syncs"
import gc


def repaired():
    class Repaired(Trainer):
        def report(self, step, loss, norm):
            super().report(step, loss, norm)
            gc.collect()
            torch.get_device_module(device).empty_cache()

    return Repaired

# %% wrong="fix_trainer" name="an empty log" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def fit(self, batches):
            return [], torch.zeros(10, 10, dtype=torch.int64).tolist()

    return Repaired
