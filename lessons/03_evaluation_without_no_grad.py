# ---
# title: Evaluation without no_grad
# minutes: 20
# ---

# %% [markdown]
# # 03 · Validation needs more memory than training
#
# {{badges}}
#
# **Symptom:** training fits. Validation, with the same batches, runs out of memory, although nothing grows.
#
# After this lesson you can
# - see a peak that no slope betrays, and say what was alive in it,
# - tell what `eval()`, `no_grad` and `inference_mode` each do, and what they do not,
# - evaluate a model for a fraction of the memory.
#
# About 20 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("03_evaluation_without_no_grad")

# %% [markdown]
# ## The scene
#
# A week of training, then the first validation pass: out of memory. Same model, same batch size, no `backward()`,
# nothing stored. "But we put it in eval mode!" They did. The model was told. Autograd was not.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F


class Classifier(nn.Module):
    """64 features in, normalised; `depth` layers of `width`; 10 classes out."""

    def __init__(self, width=128, depth=8):
        super().__init__()
        self.normalise = nn.BatchNorm1d(64)
        layers, last = [], 64
        for _ in range(depth):
            layers += [nn.Linear(last, width), nn.ReLU()]
            nn.init.kaiming_normal_(layers[-2].weight)
            last = width
        self.layers = nn.Sequential(*layers, nn.Linear(last, 10))

    def forward(self, x):
        return self.layers(self.normalise(x))


def batches(count, size=512, seed=0):
    """Yield `count` pairs (features, labels), already on the device."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = 2 * torch.randn(size, 64, generator=random) + 1
        yield x.to(device), torch.randint(10, (size,), generator=random).to(device)


def new_model(seed=0, depth=8):
    torch.manual_seed(seed)
    return Classifier(depth=depth).to(device)

# %% [markdown]
# And the tools to look at it with:

# %% given="tools"
def rise(trace):
    """Peak after warm-up, in bytes above the start."""
    return trace.highest - trace.baseline


def flags(model):
    """Which of its modules are in training mode."""
    return [module.training for module in model.modules()]


def measure(work, steps=8, size=512, seed=0, model=None):
    """Record one pass of `work(model, batches)`. Returns its trace and its result."""
    model = new_model(seed) if model is None else model
    ag.device_module().empty_cache()  # what earlier runs reserved
    with ag.record(warmup=3) as trace:
        result = work(model, trace.steps(batches(steps, size, seed)))
    return trace, result


class Watch:
    """A forward hook that notes what forward passes leave behind them."""

    saw = "no graph"

    def __call__(self, model, inputs, output):
        if output.requires_grad:
            self.saw = "a graph"

# %% [markdown]
# The loop that trained all week, and the loop that died. Compare them: which one has less to do?

# %% given="leak"
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches:
        optimizer.zero_grad()
        logits = model(x)
        F.cross_entropy(logits, y).backward()
        optimizer.step()


def leaky_evaluate(model, batches):
    """Return the mean loss and the accuracy."""
    was_training = model.training
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    model.train(was_training)
    return loss / count, correct / count

# %% [markdown]
# ## Predict
#
# Training holds activations for the backward pass, then gradients as well. `leaky_evaluate` runs forward only, and keeps
# two Python numbers. Which peak is higher?

# %%
ag.predict(
    "The peak of validation, beside that of training, is",
    ["less than half", "lower by a little", "about equal", "higher"],
)

# %% [markdown]
# ## Run and see

# %%
training, _ = measure(train)
before, _ = measure(leaky_evaluate)
ratio = rise(before) / rise(training)
words = ["less than half", "lower by a little", "about equal", "higher"]
outcome = words[sum(ratio >= limit for limit in (0.5, 0.9, 1.1))]
names = ("training", "validation")
ag.plot(before=training, after=before, names=names, outcome=outcome)

# %% [markdown]
# No slope anywhere: this bug does not climb, so a run of a week proves nothing. Look at the dotted **peaks**, and at the
# first two steps of validation: the first batch costs about what training costs, the second nearly twice that.
# Ask what is alive:

# %%
ag.diagnose(before)

# %%
ag.diagnose(before, at="peak")

# %% [markdown]
# ## Why
#
# Half of the peak was *left from before*. With autograd on, `logits` holds its graph, and the graph every activation.
# The name `logits` lets go only when the next `model(x)` has *finished*: while it runs, two graphs are alive.
#
# Training has the same names. But its `backward()` frees the graph first. Validation has no `backward()`, so nothing does.
#
# **Folklore:** "`eval()` switches gradients off." "`inference_mode` saves more than `no_grad`." Measure:

# %%
from contextlib import nullcontext


def peak_with(context=nullcontext, let_go=False, keep=None, eval_mode=True):
    """Peak above the start, and growth per batch, of a bare forward loop."""
    def work(model, batches):
        model.train(not eval_mode)
        with context():
            for x, y in batches:
                logits = model(x)
                if keep:
                    kept.append(keep(logits))
                if let_go:
                    del logits
    kept = []
    trace, _ = measure(work)
    return f"{ag.human(rise(trace)):>10} {ag.human(trace.slope):>12} per batch"

# %%
print("train()           ", peak_with(eval_mode=False))
print("eval()            ", peak_with())
print("eval(), del logits", peak_with(let_go=True))
print("no_grad()         ", peak_with(torch.no_grad))
print("inference_mode()  ", peak_with(torch.inference_mode))

# %%
print("if each batch's outputs are kept for later:")
print("kept.append(logits)    ", peak_with(keep=lambda out: out))
print("kept.append(.cpu())    ", peak_with(keep=lambda out: out.cpu()))
print("under no_grad          ", peak_with(torch.no_grad, keep=lambda out: out))
print("under no_grad, .cpu()  ", peak_with(torch.no_grad, keep=lambda out: out.cpu()))

# %% [markdown]
# - `eval()` saves *nothing*. It changes what dropout and batch norm do, not what autograd does.
# - `del logits` halves the peak: one graph instead of two. Still a graph nobody wants.
# - `no_grad` and `inference_mode` need the same, a fraction: each activation dies once the next layer has read it.
# - Keep outputs with their graph and there *is* a leak; `.cpu()` moves the number and leaves the graph.
#
# So why ever prefer one of the two contexts?

# %%
model = new_model()
for context in (torch.no_grad, torch.inference_mode):
    with context():
        features = model.layers[0](torch.ones(4, 64, device=device))
    try:
        model.layers[2](features).sum().backward()
        print(f"{context.__name__:15} its result can enter a graph later")
    except RuntimeError as error:
        print(f"{context.__name__:15} {error}")
del model, features

# %% [markdown]
# `inference_mode` skips a little bookkeeping, and locks its results out of autograd for good. For validation either is right. When a
# frozen encoder feeds a head that trains, take `no_grad`.
#
# ## Exercise: `fix_evaluate`
#
# Write the line that calls the model. About one line, five minutes.
#
# - The same loss and accuracy, and every `training` flag as it was.
# - The peak of a model without gradients, give or take 30 %.
# - Training can go on afterwards.

# %% exercise="fix_evaluate"
def evaluate(model, batches):
    """Return the mean loss and the accuracy, without building a graph."""
    was_training = model.training
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        ### BEGIN SOLUTION
        with torch.no_grad():
            logits = model(x)
        ### END SOLUTION
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    model.train(was_training)
    return loss / count, correct / count

# %% [markdown]
# Your run beside the one that died. While the stub is still empty, the next two cells say so.

# %%
after, _ = measure(evaluate)
ag.plot(before=before, after=after)

# %% check="fix_evaluate" points=4
def one_step_of_training(model):
    train(model, batches(1, seed=9))
    return [p.grad for p in model.parameters()]


def verdict(steps, size, seed, training=True):
    what = dict(exercise="fix_evaluate")
    leak, expected = measure(leaky_evaluate, steps, size, seed)
    without = new_model(seed).requires_grad_(False)
    good, _ = measure(leaky_evaluate, steps, size, seed, without)
    model, watch = new_model(seed).train(training), Watch()
    was = flags(model)
    hook = model.register_forward_hook(watch)
    trace, result = measure(evaluate, steps, size, seed, model)
    hook.remove()
    now, gradients = flags(model), one_step_of_training(model.train())
    ag.check.same(result, expected, what="loss and accuracy", **what)
    reference = one_step_of_training(new_model(seed))
    ag.check.same(gradients, reference, what="the next step's gradients", **what)
    ag.check.flat(trace, per_step=rise(good) / 100, steps=steps, **what)
    if 1.3 * rise(good) < rise(trace) < 0.6 * rise(leak):
        print(f"1 of 4 points: the old graph is gone, and the peak down from "
              f"{ag.human(rise(leak))} to {ag.human(rise(trace))}. "
              f"Without the new graph it would be {ag.human(rise(good))}")
        return 1
    ag.check.peak(trace, reference=good, **what)
    ag.check.same(watch.saw, "no graph", what="what the model builds", **what)
    if now != was:
        print("3 of 4 points: memory is right, the training flags are not as they were")
        return 3
    return 4


score = verdict(steps=8, size=512, seed=0)
### BEGIN HIDDEN TESTS
score = min(score, verdict(steps=7, size=320, seed=5, training=False))
### END HIDDEN TESTS
score  # points

# %% [markdown]
# Stuck? One more hint at each run: where to look, which concept, which call.

# %% hint="fix_evaluate"
# Look at what the peak was made of: activations of the model, kept for a
# `backward()` that never comes.
#
# `eval()` speaks to the layers. You need something that speaks to autograd, and
# only while the model runs, so that training can go on afterwards.
#
# `with torch.no_grad():` around the call of the model, or `@torch.no_grad()` above
# the whole function. `torch.inference_mode()` will do as well.

# %% [markdown]
# ## Turn the knobs
#
# Make the model deeper. What does a layer cost with a graph, and what without? Then try the half-measures.

# %%
ways = {
    "eval() only": (nullcontext, False),
    "del logits": (nullcontext, True),
    "no_grad": (torch.no_grad, False),
    "inference_mode": (torch.inference_mode, False),
}


def rerun(way="no_grad", depth=8, size=256):
    def forward(model, batches):
        context, let_go = ways[way]
        with context():
            for x, y in batches:
                logits = model(x)
                if let_go:
                    del logits
    first, _ = measure(leaky_evaluate, 8, size, model=new_model(depth=depth))
    second, _ = measure(forward, 8, size, model=new_model(depth=depth).eval())
    return first, second


ag.explore(rerun, way=list(ways), depth=(2, 24, 2), size=(64, 512, 64))

# %% [markdown]
# Without a graph a layer costs its weights and no more: only two neighbouring activations are ever alive, however deep the model.
# With one you pay for every layer, twice.
#
# ## Now at scale
#
# A trainer as it stands in real projects: it trains, validates after each epoch, keeps the best weights. `normalise` comes
# pretrained and is frozen, so it stays in eval mode even while the rest trains. And look, `validate` *has* its `no_grad`.

# %% given="trainer"
class Trainer:
    """Trains with AdamW, validates after every epoch, keeps the best weights."""

    def __init__(self, steps=3, size=512, seed=0):
        self.steps, self.size, self.seed = steps, size, seed
        self.model = new_model(seed, depth=5)
        self.model.normalise.eval().requires_grad_(False)
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=3e-3)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.8)
        self.history, self.best, self.best_weights = [], float("inf"), None

    def train_epoch(self, epoch):
        """One pass over the training batches. Returns the mean loss."""
        total = torch.zeros((), device=device)
        for x, y in batches(self.steps, self.size, seed=self.seed + epoch):
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            total += loss.detach()
        self.scheduler.step()
        return (total / self.steps).item()

    def scores(self, data):
        """Yield the logits and the labels of every batch."""
        for x, y in data:
            logits = self.model(x)
            yield logits, y

    def validate(self):
        """Mean loss and accuracy on the validation set, in eval mode."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        with torch.no_grad():
            data = batches(self.steps, self.size, seed=10_000 + self.seed)
            scored = self.scores(data)
        loss = correct = count = 0
        for logits, y in scored:
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
            count += len(y)
        for module, mode in modes:
            module.training = mode
        return loss / count, correct / count

    def keep_the_best(self, loss):
        """Copy the weights to the CPU if this epoch was the best so far."""
        if loss < self.best:
            self.best = loss
            weights = self.model.state_dict()
            self.best_weights = {name: w.detach().cpu() for name, w in weights.items()}

    def fit(self, epochs):
        """Train for the epochs given. Returns one record per epoch."""
        for epoch in epochs:
            train_loss = self.train_epoch(epoch)
            loss, accuracy = self.validate()
            self.keep_the_best(loss)
            record = {"train": train_loss, "valid": loss, "accuracy": accuracy}
            self.history.append(record)
        return self.history


def start(kind, **sizes):
    """Build the trainer: `kind` is Trainer, or the function `repaired`."""
    if not isinstance(kind, type):
        with ag.record():  # says in one line that an exercise is still empty
            kind = kind()
    return kind(**sizes)


def run(kind, epochs=4, **sizes):
    """Record a whole fit, one step per epoch. Returns trace, history, trainer."""
    trainer = start(kind, **sizes)
    with ag.record(warmup=1) as trace:
        history = trainer.fit(trace.steps(range(epochs)))
    return trace, history, trainer


def phases(kind, **sizes):
    """Record each phase of an epoch alone, on a trainer that has run an epoch."""
    trainer = start(kind, **sizes)
    trainer.fit(range(1))
    parts = {
        "train_epoch": trainer.train_epoch,
        "validate": lambda epoch: trainer.validate(),
        "a whole epoch": lambda epoch: trainer.fit([epoch]),
    }
    return {name: ag.record(part, steps=3, warmup=1) for name, part in parts.items()}

# %% [markdown]
# First the binary search of lesson 00: which phase sets the peak?

# %%
alone = phases(Trainer)
for phase, trace in alone.items():
    print(f"{phase:14} peak {ag.human(rise(trace))} above the start")

# %%
ag.diagnose(alone["validate"], at="peak")

# %% [markdown]
# Validation alone sets the peak of the epoch: two batches' worth of layers, alive at once. So is `no_grad` on where the
# model runs? Ask it, there:

# %%
class Asking(Trainer):
    def scores(self, data):
        for logits, y in super().scores(data):
            self.answer = torch.is_grad_enabled(), logits.requires_grad
            yield logits, y


asking = Asking(steps=1)
asking.validate()
print("grad mode on: {}; the logits have a graph: {}".format(*asking.answer))

# %% [markdown]
# ## Exercise: `fix_trainer`
#
# Return a subclass of `Trainer` that overrides what is at fault, and nothing else.
#
# - The same history and best weights, and the frozen layer stays frozen.
# - `validate` at the peak of a model without gradients, give or take 30 %.

# %% exercise="fix_trainer"
def repaired():
    """Return a subclass of Trainer whose validation builds no graph."""
    ### BEGIN SOLUTION
    class Repaired(Trainer):
        @torch.no_grad()
        def validate(self):
            return super().validate()

    return Repaired
    ### END SOLUTION

# %% [markdown]
# If you are right, what remains of the peak is training's own.

# %%
ag.plot(before=run(Trainer)[0], after=run(repaired)[0])

# %% check="fix_trainer" points=4
def validation_peak(kind, graphs=True, watch=None, **sizes):
    """Record `validate` alone, with or without anything that could need a gradient."""
    trainer = start(kind, **sizes)
    trainer.fit(range(1))
    trainer.model.requires_grad_(graphs)
    if watch is not None:
        trainer.model.register_forward_hook(watch)
    return ag.record(lambda: trainer.validate(), steps=3, warmup=1)


def weights(trainer):
    return trainer.best_weights, trainer.model.state_dict(), flags(trainer.model)


def verdict_on_trainer(epochs, **sizes):
    what, watch = dict(exercise="fix_trainer"), Watch()
    _, expected, model = run(Trainer, epochs, **sizes)
    trace, history, mine = run(repaired, epochs, **sizes)
    ag.check.same(history, expected, what="the history", **what)
    ag.check.same(weights(mine), weights(model), what="weights and flags", **what)
    ag.check.flat(trace, per_step=512, steps=epochs, **what)
    leak = validation_peak(Trainer, **sizes)
    good = validation_peak(Trainer, graphs=False, **sizes)
    peak = validation_peak(repaired, watch=watch, **sizes)
    if 1.3 * rise(good) < rise(peak) < 0.6 * rise(leak):
        print(f"1 of 4 points: one graph less, {ag.human(rise(peak))} instead of "
              f"{ag.human(rise(leak))}. Without any it is {ag.human(rise(good))}")
        return 1
    ag.check.peak(peak, reference=good, **what)
    ag.check.same(watch.saw, "no graph", what="what validate builds", **what)
    return 4


score = verdict_on_trainer(epochs=4)
### BEGIN HIDDEN TESTS
score = min(score, verdict_on_trainer(epochs=5, steps=2, size=192, seed=3))
### END HIDDEN TESTS
score  # points

# %% hint="fix_trainer"
# `validate` opens `no_grad` and `scores` runs the model. When does the body of
# `scores` run: where it is called, or where the `for` loop pulls?
#
# A function with `yield` is a generator: calling it runs nothing. By the time the
# first batch is pulled, the `with` block is over. The context has to be open *while
# the model runs*.
#
# `@torch.no_grad()` above `scores` works, PyTorch keeps it on at every pull; so
# does decorating `validate`, or writing `with torch.no_grad():` around the call of
# the model.

# %% reflect="where_else"
# ## Reflect
#
# Where does your own code run a model without training it: a callback, a sampling loop, a teacher in distillation, a reward
# model, a notebook cell? For one of them, how do you know that grad mode is off *where the model runs*?

# %% [markdown]
# ## Take away
#
# 1. A flat line is not a clean bill: watch the **peak**, from the second step on.
# 2. `eval()` speaks to layers; `no_grad` and `inference_mode` speak to autograd. Validation needs one of each.
# 3. A generator runs when it is pulled, not where it is called. Ask `torch.is_grad_enabled()` *there*.

# %%
reference, _ = measure(leaky_evaluate, model=new_model().requires_grad_(False))
print("peak above the start: training", ag.human(rise(training)), "| validation",
      ag.human(rise(before)), "| without a graph", ag.human(rise(reference)))

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 3 | Evaluation without no_grad | no slope; peak 4.8 MiB here instead of 0.8 MiB | the old output keeps its graph while the next forward runs | `no_grad` or `inference_mode` where the model runs, and `eval()` |
#
# Next: **04 · Host-device transfers**.

# %% right="fix_evaluate" name="a decorator over the whole function"
@torch.no_grad()
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    model.train(was_training)
    return loss / count, correct / count

# %% right="fix_evaluate" name="inference mode, sums on the device, flags kept one by one"
def evaluate(model, batches):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    loss, correct = torch.zeros(2, device=device)
    count = 0
    with torch.inference_mode():
        for x, y in batches:
            logits = model(x)
            loss = loss + F.cross_entropy(logits, y, reduction="sum")
            correct = correct + (logits.argmax(1) == y).sum()
            count += len(y)
    for module, mode in modes.items():
        module.training = mode
    return loss.item() / count, correct.item() / count

# %% right="fix_evaluate" name="grad mode switched off and back on by hand"
def evaluate(model, batches):
    was_training, grad_mode = model.training, torch.is_grad_enabled()
    model.eval()
    torch.set_grad_enabled(False)
    try:
        loss = correct = count = 0
        for x, y in batches:
            logits = model(x)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
            correct += int((logits.argmax(1) == y).sum())
            count += len(y)
    finally:
        torch.set_grad_enabled(grad_mode)
        model.train(was_training)
    return loss / count, correct / count

# %% right="fix_evaluate" name="a functional call on detached weights"
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    weights = {k: v.detach() for k, v in model.state_dict().items()}
    loss = correct = count = 0
    for x, y in batches:
        logits = torch.func.functional_call(model, weights, (x,))
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    model.train(was_training)
    return loss / count, correct / count

# %% wrong="fix_evaluate" name="unchanged" expects="peak too high"
def evaluate(model, batches):
    return leaky_evaluate(model, batches)

# %% wrong="fix_evaluate" name="lets go of the logits: half of the peak" expects="1 of 4 points"
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
        del logits
    model.train(was_training)
    return loss / count, correct / count

# %% wrong="fix_evaluate" name="detached too late: half of the peak" expects="1 of 4 points"
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        logits = model(x).detach()
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    model.train(was_training)
    return loss / count, correct / count

# %% wrong="fix_evaluate" name="leaves the model in eval mode" expects="3 of 4 points"
@torch.no_grad()
def evaluate(model, batches):
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    return loss / count, correct / count

# %% wrong="fix_evaluate" name="never enters eval mode" expects="wrong results"
@torch.no_grad()
def evaluate(model, batches):
    loss = correct = count = 0
    for x, y in batches:
        logits = model(x)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    return loss / count, correct / count

# %% wrong="fix_evaluate" name="switches gradients off for good" expects="does not require grad"
def evaluate(model, batches):
    torch.set_grad_enabled(False)
    return leaky_evaluate(model, batches)

# %% wrong="fix_evaluate" name="freezes the weights for good" expects="does not require grad"
def evaluate(model, batches):
    model.requires_grad_(False)
    return leaky_evaluate(model, batches)

# %% wrong="fix_evaluate" name="smaller batches, graph and all" expects="what the model builds"
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    loss = correct = count = 0
    for x, y in batches:
        for part, labels in zip(x.chunk(16), y.chunk(16)):
            logits = model(part)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += (logits.argmax(1) == labels).sum().item()
        count += len(y)
    model.train(was_training)
    return loss / count, correct / count

# %% wrong="fix_evaluate" name="keeps every batch's logits" expects="not flat"
@torch.no_grad()
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    kept = [(model(x), y) for x, y in batches]
    model.train(was_training)
    logits, y = (torch.cat(parts) for parts in zip(*kept))
    correct = (logits.argmax(1) == y).float().mean()
    return F.cross_entropy(logits, y).item(), correct.item()

# %% wrong="fix_evaluate" name="empties the cache at every batch" expects="peak too high"
def evaluate(model, batches):
    def emptied():
        for pair in batches:
            torch.get_device_module(device).empty_cache()
            yield pair
    return leaky_evaluate(model, emptied())

# %% wrong="fix_evaluate" name="a constant" expects="wrong results"
def evaluate(model, batches):
    for _ in batches:
        pass
    return 2.3, 0.1

# %% wrong="fix_evaluate" name="the first batch is enough" expects="wrong results"
@torch.no_grad()
def evaluate(model, batches):
    return leaky_evaluate(model, [next(iter(batches))])

# %% wrong="fix_evaluate" name="replaces the yardstick" expects="tampered"
def evaluate(model, batches):
    return leaky_evaluate(model, batches)

ag.check.peak = lambda *args, **kwargs: 4

# %% right="fix_trainer" name="the generator decorated"
def repaired():
    class Repaired(Trainer):
        @torch.no_grad()
        def scores(self, data):
            yield from super().scores(data)

    return Repaired

# %% right="fix_trainer" name="inference mode around the model"
def repaired():
    class Repaired(Trainer):
        def scores(self, data):
            for x, y in data:
                with torch.inference_mode():
                    logits = self.model(x)
                yield logits, y

    return Repaired

# %% right="fix_trainer" name="validate rewritten without a generator"
def repaired():
    class WithoutGraphs(Trainer):
        def validate(self):
            modes = [(module, module.training) for module in self.model.modules()]
            self.model.eval()
            loss = correct = count = 0
            with torch.no_grad():
                for x, y in batches(self.steps, self.size, seed=10_000 + self.seed):
                    logits = self.model(x)
                    loss += F.cross_entropy(logits, y, reduction="sum").item()
                    correct += (logits.argmax(1) == y).sum().item()
                    count += len(y)
            for module, mode in modes:
                module.training = mode
            return loss / count, correct / count

    return WithoutGraphs

# %% wrong="fix_trainer" name="unchanged" expects="peak too high"
def repaired():
    return Trainer

# %% wrong="fix_trainer" name="lets go of the logits: half of the peak" expects="1 of 4 points"
def repaired():
    class Repaired(Trainer):
        def scores(self, data):
            for x, y in data:
                yield self.model(x).detach(), y

    return Repaired

# %% wrong="fix_trainer" name="no_grad around everything" expects="does not require grad"
def repaired():
    class Repaired(Trainer):
        @torch.no_grad()
        def fit(self, epochs):
            return super().fit(epochs)

    return Repaired

# %% wrong="fix_trainer" name="train() at the end thaws the frozen layer" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        @torch.no_grad()
        def validate(self):
            self.model.eval()
            result = super().validate()
            self.model.train()
            return result

    return Repaired

# %% wrong="fix_trainer" name="eval() once more" expects="peak too high"
def repaired():
    class Repaired(Trainer):
        def scores(self, data):
            self.model.eval()
            return super().scores(data)

    return Repaired

# %% wrong="fix_trainer" name="logits to the CPU, graph and all" expects="peak too high"
def repaired():
    class Repaired(Trainer):
        def scores(self, data):
            for x, y in data:
                logits = self.model(x).cpu()
                yield logits, y.cpu()

    return Repaired

# %% wrong="fix_trainer" name="half the validation set" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        @torch.no_grad()
        def scores(self, data):
            for number, pair in enumerate(super().scores(data)):
                if number % 2 == 0:
                    yield pair

    return Repaired

# %% wrong="fix_trainer" name="small pieces, graph and all" expects="what validate builds"
def repaired():
    class Repaired(Trainer):
        def scores(self, data):
            for x, y in data:
                parts = [self.model(part).detach() for part in x.chunk(16)]
                yield torch.cat(parts), y

    return Repaired

# %% wrong="fix_trainer" name="does not validate" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def validate(self):
            return 2.3, 0.1

    return Repaired

# %% wrong="fix_trainer" name="collects garbage after every epoch" expects="peak too high"
import gc


def repaired():
    class Repaired(Trainer):
        def keep_the_best(self, loss):
            super().keep_the_best(loss)
            gc.collect()
            torch.get_device_module(device).empty_cache()

    return Repaired

# %% wrong="fix_trainer" name="patches the trainer that it is compared with" expects="tampered"
def repaired():
    Trainer.scores = torch.no_grad()(Trainer.scores)
    return Trainer
