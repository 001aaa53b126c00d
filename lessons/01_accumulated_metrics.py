# ---
# title: Accumulated metrics
# minutes: 30
# ---

# %% [markdown]
# # 01 · Validation eats the GPU
#
# {{badges}}
#
# **Symptom:** memory climbs with every batch, in a straight line, until it runs out.
#
# After this lesson you can
# - read a leak's size per step off a plot,
# - say what a stored loss really keeps alive,
# - fix it in one line, and prove that the fix is flat.
#
# About 30 minutes: 20 for the leak, 10 for the same leak in a real training loop.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("01_accumulated_metrics")

# %% [markdown]
# ## The scene
#
# Training ran all weekend. On Monday somebody adds one innocent line, "let us also keep the validation losses",
# and the run dies in the first validation pass. Nobody touched the model.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F


class Classifier(nn.Module):
    """64 features in, two hidden layers of `width`, 10 classes out."""

    def __init__(self, width=512):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(64, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 10),
        )

    def forward(self, x):
        return self.layers(x)


def batches(count, size=256, seed=0):
    """Yield `count` pairs (features, labels), already on the device."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(size, 64, generator=random)
        y = torch.randint(10, (size,), generator=random)
        yield x.to(device), y.to(device)


torch.manual_seed(0)
model = Classifier().to(device)

# %% [markdown]
# Here is the innocent line. Can you see what is wrong with it? Most reviewers cannot.

# %% given="leak"
def leaky_validate(model, batches):
    """Return one loss per batch."""
    losses = []
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        losses.append(loss)  # the innocent line
    return losses


def measure(validate, steps=20, size=256, seed=0):
    """Record one validation pass. Returns its trace and what it returned."""
    with ag.record(warmup=3) as trace:
        result = validate(model, trace.steps(batches(steps, size, seed)))
    return trace, result

# %% [markdown]
# ## Predict
#
# A loss is a single number: 4 bytes. Twenty batches, so twenty numbers.
# What will allocated memory do while `leaky_validate` runs? Choose before you look.

# %%
ag.predict(
    "Allocated memory over 20 batches will",
    ["stay flat", "grow by a few bytes", "grow by megabytes"],
)

# %% [markdown]
# ## Run and see

# %%
before, losses = measure(leaky_validate)
ag.plot(before)

# %% [markdown]
# **Allocated** (live tensors) is a straight line. **Peak** runs just above it. **Reserved**, what the allocator
# holds from the GPU, follows in stairs of whole segments. The slope is the price of *one* stored loss:
# over a megabyte for a number of 4 bytes. Who is holding it?

# %%
ag.diagnose(before)

# %% [markdown]
# ## Why
#
# `loss` is not only a number: it is the tip of a graph. For a backward pass that will never come, the graph
# holds every saved tensor of the forward pass. Store the loss and you store all of it.
#
# **Folklore:** "`total += loss` in the training loop leaks GPU memory." Measure before you believe:

# %%
losses = None  # let go of the run above: all of its memory comes back
x, y = next(batches(1))
kept = []


def slope_of(keep, backward=False):
    """GPU memory that stays behind per step when `keep(loss)` stores the loss."""
    def step():
        loss = F.cross_entropy(model(x), y)
        if backward:
            loss.backward()
        keep(loss)
    kept[:] = [0.0]
    return ag.human(ag.record(step, steps=8).slope)


def add(loss):
    kept[0] = kept[0] + loss

# %%
print("append(loss), no backward        ", slope_of(kept.append))
print("append(loss.cpu()), no backward  ", slope_of(lambda loss: kept.append(loss.cpu())))
print("total += loss, no backward       ", slope_of(add))
print("append(loss), after backward()   ", slope_of(kept.append, backward=True))
print("total += loss, after backward()  ", slope_of(add, backward=True))
kept.clear()

# %% [markdown]
# So the folklore is wrong where it is told and right where nobody looks. After `backward()`, `total += loss` costs *no*
# GPU memory, and a stored loss one 512-byte block, the smallest there is. Without `backward()` either costs everything
# (a little less than above, because here every step reuses one batch). `.cpu()` moves the number and keeps the graph on the GPU.

# %% [markdown]
# ## Exercise: `fix_validate`
#
# Write the line that stores the loss. About one line, five minutes.
#
# - Return a list with one number per batch, the same values as before.
# - GPU memory must not grow with the number of batches: less than 1 % of the leak.
# - What you return must not keep a graph.

# %% exercise="fix_validate"
def validate(model, batches):
    """Return a list of losses, one per batch, without keeping the graphs alive."""
    losses = []
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        ### BEGIN SOLUTION
        losses.append(loss.item())
        ### END SOLUTION
    return losses

# %% [markdown]
# Your own run beside the leak. While the stub is still empty, the next two cells say so.

# %%
after, losses = measure(validate)
ag.plot(before=before, after=after)

# %% check="fix_validate" points=3
def verdict(steps, size, seed):
    leak, expected = measure(leaky_validate, steps, size, seed)
    expected = torch.stack(expected).tolist()  # numbers only: the leak ends here
    trace, result = measure(validate, steps, size, seed)
    ag.check.same(result, expected, what="the losses", exercise="fix_validate")
    ag.check.flat(trace, per_step=leak.slope / 100, steps=steps, exercise="fix_validate")
    ag.check.no_graph(result, exercise="fix_validate")

verdict(steps=20, size=256, seed=0)
### BEGIN HIDDEN TESTS
verdict(steps=9, size=64, seed=7)
verdict(steps=31, size=128, seed=3)
### END HIDDEN TESTS
3  # points

# %% [markdown]
# Stuck? Each run of the next cell gives one more hint: where to look, which concept, which call.

# %% hint="fix_validate"
# Look at what `diagnose` named: the list holds losses, and each loss holds something much larger.
#
# The number and the graph are two different things. You want to store the first and let go of the second
# before the next batch arrives.
#
# A tensor with one element turns into a plain Python number with `loss.item()`; `loss.detach()` cuts the graph
# and keeps the tensor. Running the whole loop under `torch.no_grad()` never builds the graph.

# %% [markdown]
# ## Turn the knobs
#
# "I'll just reduce the batch size" is the first thing everybody says. Halve it: what happens to the slope?
# And what happens to it without the leak?

# %%
def rerun(leak=True, steps=20, size=256):
    trace, _ = measure(leaky_validate if leak else validate, steps, size)
    return trace


ag.explore(rerun, leak=True, steps=(5, 40), size=(32, 512, 32))

# %% [markdown]
# A smaller batch makes the line less steep, never flat: the run dies later, which is worse, because by then you are asleep.

# %% [markdown]
# ## Now at scale
#
# Real training loops log in six places at once. This one follows the loss, keeps the best batch, watches the size of the
# features, smooths two numbers and feeds a progress bar. It trains well, and it dies on the third day.
#
# Every method stores a tensor. Which of them leak?

# %% given="trainer"
class Trainer:
    """Trains a `Classifier` and reports on it. Six methods store something at every step."""

    def __init__(self, model, lr=0.05):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.history = {"loss": [], "feature size": []}
        self.smooth = {"loss": 0.0, "confidence": 0.0}
        self.best = self.best_logits = None
        self.progress = {"step": 0}

    def fit(self, batches):
        """Train on every batch once and return the report."""
        for x, y in batches:
            self.training_step(x, y)
        return self.report()

    def training_step(self, x, y):
        features = self.model.layers[:-1](x)
        logits = self.model.layers[-1](features)
        loss = F.cross_entropy(logits, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.log_loss(loss)
        self.smooth_loss(loss)
        self.keep_best(loss, logits)
        self.watch_features(features)
        self.watch_confidence(logits)
        self.show_progress(loss, logits, y)

    def log_loss(self, loss):
        self.history["loss"].append(loss)

    def smooth_loss(self, loss):
        self.smooth["loss"] = 0.9 * self.smooth["loss"] + 0.1 * loss

    def keep_best(self, loss, logits):
        if self.best is None or loss < self.best:
            self.best, self.best_logits = loss, logits

    def watch_features(self, features):
        """Exploding features announce a diverging run."""
        self.history["feature size"].append(features.norm(dim=1).mean())

    def watch_confidence(self, logits):
        confidence = logits.softmax(dim=1).amax(dim=1).mean()
        self.smooth["confidence"] = 0.9 * self.smooth["confidence"] + 0.1 * confidence

    def show_progress(self, loss, logits, y):
        hits = (logits.argmax(dim=1) == y).float()
        self.progress = {"step": self.progress["step"] + 1, "loss": loss, "accuracy": hits.mean()}

    def report(self):
        """Everything that was stored, as plain numbers."""
        def number(value):
            return value.item() if isinstance(value, torch.Tensor) else value

        return {
            **{name: [number(value) for value in values] for name, values in self.history.items()},
            **{f"smooth {name}": number(value) for name, value in self.smooth.items()},
            **{name: number(value) for name, value in self.progress.items()},
            "best": number(self.best),
        }


def measure_training(make_trainer, steps=20, size=256, seed=0, width=512):
    """Record a training run. Returns its trace, its report and the trainer."""
    torch.manual_seed(seed)
    model = Classifier(width).to(device)
    with ag.record(warmup=3) as trace:
        trainer = make_trainer(model)
        report = trainer.fit(trace.steps(batches(steps, size, seed)))
    return trace, report, trainer

# %% [markdown]
# Name your suspects first. Then measure and ask who holds what, and at which line it was allocated:

# %%
scale, report, trainer = measure_training(Trainer)
ag.plot(scale)

# %%
ag.diagnose(scale)

# %% [markdown]
# ## Exercise: `fix_trainer`
#
# Override the methods that leak, and only those. Three to eight lines, ten minutes.
#
# - The report and the trained weights stay the same: everything is still watched.
# - Memory may grow by 2 KiB per step (four of the smallest blocks). Half-way there earns half the points.
#
# One leak can hide behind a larger one: after a fix, measure again and ask `ag.diagnose(mine)`.

# %% exercise="fix_trainer"
def repaired(model):
    """Return a trainer that reports what `Trainer(model)` reports, with flat memory."""

    class Repaired(Trainer):
        ### BEGIN SOLUTION
        def watch_features(self, features):
            super().watch_features(features.detach())

        def watch_confidence(self, logits):
            super().watch_confidence(logits.detach())
        ### END SOLUTION

    return Repaired(model)

# %%
mine, report, trainer = measure_training(repaired)
ag.plot(before=scale, after=mine)

# %% check="fix_trainer" points=4
def verdict(steps, size, seed, width):
    case = dict(steps=steps, size=size, seed=seed, width=width)
    leak, expected, trainer = measure_training(Trainer, **case)
    weights = [p.detach() for p in trainer.model.parameters()]
    del trainer  # and what it leaked
    trace, report, trainer = measure_training(repaired, **case)
    trained, name = list(trainer.model.parameters()), "fix_trainer"
    ag.check.same(report, expected, what="the report", exercise=name)
    ag.check.same(trained, weights, what="the trained weights", exercise=name)
    half = leak.slope / 10  # the larger leak is gone, the smaller one is left
    return ag.check.flat(
        trace, per_step=2048, steps=steps, almost=(half, 2), points=4, exercise=name
    )


points = verdict(steps=16, size=256, seed=0, width=512)
### BEGIN HIDDEN TESTS
points = min(points, verdict(steps=9, size=128, seed=4, width=256))
points = min(points, verdict(steps=13, size=64, seed=9, width=768))
### END HIDDEN TESTS
points

# %% hint="fix_trainer"
# `diagnose` names the line that allocated what stayed. Follow it to the method, and read the method's last line.
#
# `loss` has been through `backward()`: its graph is spent, and storing it costs one small block at most. What else is
# computed from `features` and `logits`, and does any `backward()` ever visit *that* branch?
#
# `features.detach()` and `logits.detach()` before the number is computed: then there is no branch to keep. A moving
# average counts too: each new value holds the one before it.

# %% [markdown]
# ## Each suspect alone
#
# The last word belongs to a measurement: one method switched on at a time, and what it leaves behind per step.

# %%
suspects = "log_loss smooth_loss keep_best watch_features watch_confidence show_progress"


def only(method):
    """A trainer in which just this one method stores something."""
    silent = {name: lambda self, *things: None for name in suspects.split() if name != method}
    return type("Only", (Trainer,), {**silent, "report": lambda self: None})


for method in suspects.split():
    slope = measure_training(only(method), steps=8)[0].slope
    print(f"{method:17} {ag.human(slope):>10} per step")

# %% [markdown]
# Same line, different fate: both moving averages chain every step to the next. The loss went through `backward()`,
# so its chain holds nothing on the GPU. The confidence never did: one stored number keeps the softmax of *every* step.
# The "best so far", the usual suspect, is replaced and never adds up.

# %% reflect="where_else"
# ## Reflect
#
# Where does your own code store tensors that still know how they were made: a metrics dict, a progress bar,
# a "best so far", a list of predictions for the confusion matrix? Name one place and what it keeps alive.

# %% [markdown]
# ## Take away
#
# 1. A stored loss stores its graph; the graph stores the activations.
# 2. `backward()` frees them. Validation never calls it, so nothing does.
# 3. Store numbers (`.item()`) or detached tensors; better, validate under `torch.no_grad()` (lesson 03).
# 4. A metric beside the loss is a branch of its own: `loss.backward()` does not free it.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 1 | Accumulated metrics | +1.1 MiB per batch here | stored loss keeps its graph | `loss.item()` or `.detach()` |
#
# Next: **02 · Hidden-state chaining**.

# %% right="fix_validate" name="detached tensors"
def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y).detach())
    return losses

# %% right="fix_validate" name="no graph at all"
@torch.no_grad()
def validate(model, batches):
    return [F.cross_entropy(model(x), y).item() for x, y in batches]

# %% right="fix_validate" name="inference mode, one copy at the end"
def validate(model, batches):
    losses = []
    with torch.inference_mode():
        for x, y in batches:
            losses.append(F.cross_entropy(model(x), y))
        return torch.stack(losses).tolist()

# %% right="fix_validate" name="a preallocated buffer on the device"
def validate(model, batches):
    buffer, count = torch.zeros(1024, device=device), 0
    for x, y in batches:
        with torch.no_grad():
            buffer[count] = F.cross_entropy(model(x), y)
        count += 1
    return buffer[:count].tolist()

# %% right="fix_validate" name="a helper of the learner's own"
def as_number(loss):
    return float(loss.detach().cpu())


def validate(model, batches):
    return [as_number(F.cross_entropy(model(x), y)) for x, y in batches]

# %% right="fix_validate" name="converts every fourth batch"
def validate(model, batches):
    losses, waiting = [], []
    for x, y in batches:
        waiting.append(F.cross_entropy(model(x), y))
        if len(waiting) == 4:
            losses += [loss.item() for loss in waiting]
            waiting.clear()
    return losses + [loss.item() for loss in waiting]

# %% wrong="fix_validate" name="unchanged" expects="not flat"
def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y))
    return losses

# %% wrong="fix_validate" name="moved to the CPU, graph and all" expects="not flat"
def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y).cpu())
    return losses

# %% wrong="fix_validate" name="eval mode is not no_grad" expects="not flat"
def validate(model, batches):
    model.eval()
    losses = [F.cross_entropy(model(x), y) for x, y in batches]
    model.train()
    return losses

# %% wrong="fix_validate" name="collect and empty the cache every step" expects="not flat"
import gc

def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y))
        gc.collect()
        torch.get_device_module(device).empty_cache()
    return losses

# %% wrong="fix_validate" name="keeps detached outputs for later" expects="not flat"
def validate(model, batches):
    outputs = []
    for x, y in batches:
        outputs.append((x, model(x).detach(), y))
    return [F.cross_entropy(out, y).item() for _, out, y in outputs]

# %% wrong="fix_validate" name="constant answer" expects="wrong results"
def validate(model, batches):
    return [2.3 for _ in batches]

# %% wrong="fix_validate" name="drops every batch but the last" expects="wrong results"
def validate(model, batches):
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
    return [loss.item()]

# %% wrong="fix_validate" name="empty loop" expects="wrong results"
def validate(model, batches):
    return []

# %% wrong="fix_validate" name="pulls every batch first" expects="not flat"
def validate(model, batches):
    stored = list(batches)
    return [F.cross_entropy(model(x), y).item() for x, y in stored]

# %% wrong="fix_validate" name="a global that outlives the call" expects="not flat"
history = []

def validate(model, batches):
    start = len(history)
    for x, y in batches:
        history.append(F.cross_entropy(model(x), y))
    return [loss.item() for loss in history[start:]]

# %% wrong="fix_validate" name="replaces the check" expects="tampered"
def validate(model, batches):
    return []

ag.check.same = ag.check.flat = ag.check.no_graph = lambda *args, **kwargs: 3

# %% wrong="fix_validate" name="patches the memory counter" expects="tampered"
torch.get_device_module(device).memory_allocated = lambda device=None: 0

def validate(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.cross_entropy(model(x), y))
    return losses

# %% right="fix_trainer" name="numbers at once"
def repaired(model):
    class Repaired(Trainer):
        def watch_features(self, features):
            self.history["feature size"].append(features.norm(dim=1).mean().item())

        def watch_confidence(self, logits):
            confidence = logits.softmax(dim=1).amax(dim=1).mean().item()
            self.smooth["confidence"] = 0.9 * self.smooth["confidence"] + 0.1 * confidence

    return Repaired(model)

# %% right="fix_trainer" name="no_grad around the watchers"
def repaired(model):
    class Repaired(Trainer):
        watch_features = torch.no_grad()(Trainer.watch_features)
        watch_confidence = torch.no_grad()(Trainer.watch_confidence)

    return Repaired(model)

# %% right="fix_trainer" name="detached where the step hands them on"
class Careful(Trainer):
    def training_step(self, x, y):
        features = self.model.layers[:-1](x)
        logits = self.model.layers[-1](features)
        loss = F.cross_entropy(logits, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss, logits, features = loss.detach(), logits.detach(), features.detach()
        self.log_loss(loss)
        self.smooth_loss(loss)
        self.keep_best(loss, logits)
        self.watch_features(features)
        self.watch_confidence(logits)
        self.show_progress(loss, logits, y)


def repaired(model):
    return Careful(model)

# %% right="fix_trainer" name="every stored thing a number"
def repaired(model):
    class Repaired(Trainer):
        def log_loss(self, loss):
            super().log_loss(loss.item())

        def smooth_loss(self, loss):
            super().smooth_loss(loss.item())

        def keep_best(self, loss, logits):
            super().keep_best(loss.item(), None)

        def watch_features(self, features):
            super().watch_features(features.detach())
            self.history["feature size"][-1] = self.history["feature size"][-1].item()

        def watch_confidence(self, logits):
            super().watch_confidence(logits.detach())
            self.smooth["confidence"] = float(self.smooth["confidence"])

        def show_progress(self, loss, logits, y):
            super().show_progress(loss.item(), logits.detach(), y)

    return Repaired(model)

# %% wrong="fix_trainer" name="nothing overridden" expects="not flat"
def repaired(model):
    return Trainer(model)

# %% wrong="fix_trainer" name="only the larger leak" expects="2 of 4 points"
def repaired(model):
    class Repaired(Trainer):
        def watch_features(self, features):
            super().watch_features(features.detach())

    return Repaired(model)

# %% wrong="fix_trainer" name="only the smaller leak" expects="not flat"
def repaired(model):
    class Repaired(Trainer):
        def watch_confidence(self, logits):
            super().watch_confidence(logits.detach())

    return Repaired(model)

# %% wrong="fix_trainer" name="the folklore: the losses" expects="not flat"
def repaired(model):
    class Repaired(Trainer):
        def log_loss(self, loss):
            super().log_loss(loss.item())

        def smooth_loss(self, loss):
            super().smooth_loss(loss.detach())

        def keep_best(self, loss, logits):
            super().keep_best(loss.item(), logits.detach())

    return Repaired(model)

# %% wrong="fix_trainer" name="the branch cut after it was built" expects="not flat"
def repaired(model):
    class Repaired(Trainer):
        def watch_features(self, features):
            self.history["feature size"].append(features.norm(dim=1).mean().cpu())

        def watch_confidence(self, logits):
            super().watch_confidence(logits.clone())

    return Repaired(model)

# %% wrong="fix_trainer" name="stops watching" expects="wrong results"
def repaired(model):
    class Repaired(Trainer):
        def watch_features(self, features):
            pass

        def watch_confidence(self, logits):
            pass

    return Repaired(model)

# %% wrong="fix_trainer" name="forgets the beginning of the run" expects="wrong results"
def repaired(model):
    class Repaired(Trainer):
        def watch_features(self, features):
            super().watch_features(features)
            del self.history["feature size"][:-4]

        def watch_confidence(self, logits):
            super().watch_confidence(logits.detach())

    return Repaired(model)

# %% wrong="fix_trainer" name="detaches the features from training" expects="wrong results"
def repaired(model):
    class Head(nn.Sequential):
        def forward(self, x):
            return super().forward(x).detach().requires_grad_()

        def __getitem__(self, index):
            return Head(*list(self)[index]) if isinstance(index, slice) else super().__getitem__(index)

    model.layers = Head(*model.layers)
    return Trainer(model)

# %% wrong="fix_trainer" name="collects garbage after every step" expects="not flat"
import gc

def repaired(model):
    class Repaired(Trainer):
        def training_step(self, x, y):
            super().training_step(x, y)
            gc.collect()
            torch.get_device_module(device).empty_cache()

    return Repaired(model)

# %% wrong="fix_trainer" name="replaces the recorded trainer's own method" expects="tampered"
def repaired(model):
    Trainer.watch_features = lambda self, features: self.history["feature size"].append(0.0)
    Trainer.watch_confidence = lambda self, logits: None
    return Trainer(model)

# %% wrong="fix_trainer" name="trains on no batch" expects="wrong results"
def repaired(model):
    class Repaired(Trainer):
        def fit(self, batches):
            return self.report()

    return Repaired(model)
