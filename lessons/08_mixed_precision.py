# ---
# title: Mixed-precision boundaries
# minutes: 25
# ---

# %% [markdown]
# # 08 · The model that froze
#
# {{badges}}
#
# **Symptom:** no error, no warning, memory as it should be. The loss is 2.3157 at every step.
#
# After this lesson you can
# - draw the boundary of `autocast` where it belongs,
# - recognise stale weight casts, by the loss and by the memory,
# - say at which batch size mixed precision saves memory, and at which it costs some.
#
# About 25 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("08_mixed_precision")

# %% [markdown]
# ## The scene
#
# Somebody tidied up. `with torch.autocast(...)` stood inside the loop, once per step. Now it stands above the loop, once
# for all: one level of indentation less. The review said "nice". To be safe they ran the oldest sanity check there is:
# train on a single batch, which any model can learn by heart.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F

LOW = torch.bfloat16


class Classifier(nn.Module):
    """64 features in, two hidden layers of `width`, 10 classes out."""

    def __init__(self, width=128):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(64, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, 10),
        )

    def forward(self, x):
        return self.layers(x)


def new_model(seed=0, width=128):
    torch.manual_seed(seed)
    return Classifier(width).to(device)


def batches(count, size=512, seed=0, fresh=False):
    """Yield pairs (features, labels) on the device: always the same, or fresh."""
    random = torch.Generator().manual_seed(seed)
    teacher = torch.randn(64, 10, generator=random)
    for number in range(count):
        if fresh or number == 0:
            x = torch.randn(size, 64, generator=random)
            pair = x.to(device), (x @ teacher).argmax(1).to(device)
        yield pair


def watched(model, run, *arguments):
    """Run. Returns dtypes of the first layer's outputs; if backward saw autocast."""
    outputs, under_autocast = [], []

    def note(module, inputs, output):
        outputs.append(torch.empty(0, dtype=output.dtype))
        state = torch.is_autocast_enabled
        output.register_hook(lambda _: under_autocast.append(state(device.type)))
    handle = model.layers[0].register_forward_hook(note)
    run(*arguments)
    handle.remove()
    return outputs, any(under_autocast)


for x, _ in batches(1, size=1):
    new_model()(x).sum().backward()  # libraries take their workspaces now

# %% given="leak"
def plain_train(model, optimizer, batches):
    """float32 throughout. Returns one loss per step."""
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def tidy_train(model, optimizer, batches):
    """The same in mixed precision, with one context for the whole loop."""
    with torch.autocast(device.type, dtype=LOW):
        return plain_train(model, optimizer, batches)


def measure(train, steps=12, size=512, seed=0, width=128):
    """Record a training run on one batch. Returns its trace and its losses."""
    model = new_model(seed, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    with ag.record(warmup=3) as trace:
        losses = train(model, optimizer, trace.steps(batches(steps, size, seed)))
    return trace, losses

# %% [markdown]
# ## Predict
#
# bfloat16 keeps 8 significant bits, about two and a half decimal digits. Twelve steps, always the same 512 samples.

# %%
ag.predict(
    "The loss of the tidy loop will",
    ["fall as in float32", "fall, but jitter", "not move at all"],
)

# %% [markdown]
# ## Run and see

# %%
plain, expected = measure(plain_train)
before, losses = measure(tidy_train)
falls = sum(now < last for last, now in zip(losses, losses[1:]))
words = ["not move at all", "fall, but jitter", "fall as in float32"]
outcome = words[(falls > 0) + (falls == len(losses) - 1)]
ag.plot(curves={"float32": expected, "tidy": losses}, outcome=outcome)

# %%
ag.plot(before=plain, after=before, names=("float32", "tidy"))

# %% [markdown]
# Not one digit moves. And memory? Flat, and its peak is *lower* than float32's: by the numbers, a success. Only the solid
# line between the steps stands a little higher. Ask what is alive at the peak, and how old it is:

# %%
ag.diagnose(before, at="peak")

# %% [markdown]
# ## Why
#
# Tensors made **in earlier steps** in the forward pass: casts. `autocast` casts each weight to bfloat16 once and keeps the
# cast **until the outermost context ends**. The optimizer changes the float32 weight in place; the cast never hears of it.
# Every forward pass reads the weights of step 0, every backward pass computes the same gradient, and the weights march on,
# blindfolded:

# %%
model = new_model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
((x, y),) = batches(1)
tidy_train(model, optimizer, [(x, y)] * 12)
with torch.no_grad():
    outside = F.cross_entropy(model(x), y).item()
print(f"loss in the context, 12 steps:   {losses[0]:.4f} to {losses[-1]:.4f}")
print(f"loss of that model, outside:     {outside:.4f}")

# %% [markdown]
# Outermost means outermost. The usual cure, "one context per step", does not help if another one is open around it, not
# even one that is *switched off*, not even one for another device:

# %%
from contextlib import nullcontext


def step_train(model, optimizer, batches):
    """One proper context per step, by a helper."""
    return [tidy_train(model, optimizer, [batch])[0] for batch in batches]

# %%
around = {
    "nothing": nullcontext(),
    "autocast": torch.autocast(device.type, dtype=LOW),
    "autocast, enabled=False": torch.autocast(device.type, dtype=LOW, enabled=False),
    "autocast for the CPU": torch.autocast("cpu", dtype=LOW, enabled=False),
}
for name, context in around.items():
    model = new_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    with context:
        first, *_, last = step_train(model, optimizer, batches(6))
    print(f"around the loop: {name:25} {first:.4f} to {last:.4f}")

# %% [markdown]
# ## What belongs inside
#
# The documentation: autocast "should wrap only the forward pass(es) of your network, including the loss
# computation(s)"; "backward passes under autocast are not recommended". Both are *legal*. What do they change?

# %%
class Scale(torch.autograd.Function):
    """x times a matrix; its backward is Python, and sees the context it runs in."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return x @ weight

    @staticmethod
    def backward(ctx, gradient):
        (weight,) = ctx.saved_tensors
        product = gradient.float() @ weight.float().t()
        print("  multiplies in", product.dtype)
        return product, None

# %%
low, weight = torch.autocast(device.type, dtype=LOW), new_model().layers[2].weight
inputs = torch.randn(4, 128, device=device, requires_grad=True)
model, ((x, y),) = new_model(), batches(1)
with low:
    logits = model(x)
    inside = F.cross_entropy(logits, y)
    result = Scale.apply(inputs, weight.detach()).float().sum()
outside = F.cross_entropy(logits, y)
careful = F.cross_entropy(logits.float(), y)
losses_of = {"inside": inside, "outside": outside, "outside, .float()": careful}
for name, loss in losses_of.items():
    print(f"loss {name:18} {loss.item():.6f}  {loss.dtype}")
print("backward outside")
result.backward(retain_graph=True)
print("backward inside")
with low:
    result.backward()

# %% [markdown]
# A loss outside the context is computed from bfloat16 logits in bfloat16: near 2.3 it moves in steps of 0.016. It trains,
# but you would not see it. Inside, autocast knows that a cross entropy wants float32. And a backward inside casts what
# autograd had chosen with care.

# %% [markdown]
# ## Exercise: `fix_train`
#
# Write the forward pass and the loss. About two lines, five minutes.
#
# - The losses of float32 training, within 2 %; each a float32 number.
# - The layers work in bfloat16; backward runs outside.
# - No cast outlives its step; a lower peak than float32's.

# %% exercise="fix_train"
def train(model, optimizer, batches):
    """Train in mixed precision. Returns one loss per step."""
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        ### BEGIN SOLUTION
        with torch.autocast(device.type, dtype=LOW):
            loss = F.cross_entropy(model(x), y)
        ### END SOLUTION
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %%
after, losses_now = measure(train)
ag.plot(curves={"float32": expected, "before": losses, "after": losses_now})

# %% check="fix_train" points=3
def verdict(steps, size, seed):
    exercise = "fix_train"
    trace, losses = measure(train, steps, size, seed)
    plain, expected = measure(plain_train, steps, size, seed)
    near = {"rtol": 0.02, "atol": 0.02, "exercise": exercise}
    ag.check.same(losses, expected, what="the losses", **near)
    model = new_model(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    data = batches(4, size, seed)
    outputs, backward_inside = watched(model, train, model, optimizer, data)
    ag.check.dtype(outputs, LOW, exercise=exercise)
    ag.check.dtype(list(model.parameters()), torch.float32, exercise=exercise)
    weights = sum(weight.nbytes for weight in new_model().parameters())
    ag.check.flat(trace, per_step=0.01, of=weights, steps=steps, exercise=exercise)
    ag.check.resting(trace, reference=plain, ratio=1.1, exercise=exercise)
    ag.check.peak(trace, reference=plain, ratio=0.9, exercise=exercise)
    points = 3
    if torch.equal(torch.tensor(losses), torch.tensor(losses).to(LOW).float()):
        print("One point lost: the loss was computed in bfloat16, in steps of 0.016.")
        points -= 1
    if backward_inside:
        print("One point lost: backward ran under autocast.")
        points -= 1
    return points


points = verdict(steps=10, size=512, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, verdict(steps=8, size=640, seed=4))
### END HIDDEN TESTS
points  # of 3

# %% [markdown]
# Stuck? One more hint at each run: where to look, which concept, which call.

# %% hint="fix_train"
# Look at where the context begins and ends. Which of the three, forward, backward and
# optimizer, must stand between its end and its next beginning?
#
# The casts die with the outermost context. So it must end in every step, before the
# weights change; and the documentation wants it to end before `backward()`. The loss
# still belongs inside.
#
# `with torch.autocast(device.type, dtype=LOW):` in the loop, and in it one line:
# `loss = F.cross_entropy(model(x), y)`.

# %% [markdown]
# ## Turn the knobs
#
# **Folklore:** "mixed precision halves memory." Find the batch size from which it saves anything at all. Double the
# width: where does that point go?

# %%
def rerun(size=512, width=128):
    runs = [measure(way, 7, size, width=width)[0] for way in (plain_train, step_train)]
    return ag.plot(before=runs[0], after=runs[1], names=("float32", "autocast"))


ag.explore(rerun, size=[8, 32, 128, 512, 1024], width=(64, 256, 64))

# %% [markdown]
# The casts come *on top* of the float32 weights; only activations shrink. Small batch, large model: you pay. Large batch:
# you gain, though not half. The figures for width 128:

# %%
for size in (8, 64, 512, 1024):
    rises = []
    for way in (plain_train, step_train):
        trace, _ = measure(way, 4, size)
        rises.append(trace.highest - trace.baseline)
    low = "float32 {:>10}, autocast {:>10}".format(*map(ag.human, rises))
    print(f"batch {size:5}: {low}, {rises[1] / rises[0]:.0%}")

# %% [markdown]
# ## Small gradients
#
# bfloat16 has float32's range. float16 does not: small gradients become exactly zero. `GradScaler` multiplies the loss
# before `backward()` and divides before the optimizer steps:

# %%
def zeros(dtype, scaled):
    """The share of gradients that are exactly 0, for a loss a million times smaller."""
    model, ((x, y),) = new_model(), batches(1)
    scaler = torch.amp.GradScaler(device.type, enabled=scaled)
    with torch.autocast(device.type, dtype=dtype):
        loss = F.cross_entropy(model(x), y) / 1e6
    scaler.scale(loss).backward()
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
    return (gradients == 0).float().mean().item()


print(f"bfloat16              {zeros(torch.bfloat16, scaled=False):7.1%}")
print(f"float16               {zeros(torch.float16, scaled=False):7.1%}")
print(f"float16 + GradScaler  {zeros(torch.float16, scaled=True):7.1%}")

# %% [markdown]
# On a GPU older than Ampere, such as Colab's T4, bfloat16 is emulated, though `torch.cuda.is_bf16_supported()` says True;
# ask with `including_emulation=False`. There, use float16 **with** a `GradScaler`.

# %% [markdown]
# ## Now at scale: `fix_trainer`
#
# A real trainer: epochs, label smoothing, clipping, a moving average of the weights, a report. And every step opens a
# context of its own, as it should. The loss goes down. It should go down faster.

# %% given="trainer"
from itertools import islice


class Trainer:
    """Trains in mixed precision (`precision=LOW`), or in float32 to compare."""

    def __init__(self, seed=0, precision=LOW, length=4, smoothing=0.9):
        self.model, self.average = new_model(seed), new_model(seed)
        self.average.requires_grad_(False)
        weights = self.model.parameters()
        self.optimizer = torch.optim.SGD(weights, lr=0.3, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.98)
        self.mixed, self.length, self.smoothing = precision is LOW, length, smoothing
        self.held_out = next(batches(1, size=64, seed=seed + 1))
        self.history = []

    def autocast(self):
        return torch.autocast(device.type, dtype=LOW, enabled=self.mixed)

    def fit(self, batches):
        """Epochs of `length` batches, as many as there are. Returns their records."""
        batches = iter(batches)
        while True:
            with self.autocast():  # for the report, too
                epoch = islice(batches, self.length)
                losses = [self.train_step(x, y) for x, y in epoch]
                if not losses:
                    return self.history
                self.report(losses)

    def train_step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.update()
        return loss.item()

    def loss(self, x, y):
        """Forward pass and loss in mixed precision, and nothing else."""
        with self.autocast():
            return F.cross_entropy(self.model(x), y, label_smoothing=0.05)

    def update(self):
        """Move the weights, and their moving average behind them."""
        self.optimizer.step()
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters())
            for kept, now in pairs:
                kept.lerp_(now, 1 - self.smoothing)

    @torch.no_grad()
    def report(self, losses):
        """Note the epoch's losses, and how the averaged model does on held-out data."""
        x, y = self.held_out
        right = (self.average(x).argmax(1) == y).float().mean().item()
        self.history.append({"losses": losses, "right": right})
        self.schedule.step()


def measure_training(trainer, steps=16, size=512, seed=0, **options):
    """Record a training run. Returns its trace and its losses."""
    if not isinstance(trainer, type):
        with ag.record():  # says in one line that an exercise is still empty
            trainer = trainer()
    run = trainer(seed, **options)
    with ag.record(warmup=3) as trace:
        history = run.fit(trace.steps(batches(steps, size, seed, fresh=True)))
    return trace, [loss for record in history for loss in record["losses"]]

# %%
plain, expected = measure_training(Trainer, precision=torch.float32)
faulty, losses = measure_training(Trainer)
ag.plot(curves={"float32": expected, "mixed": losses})

# %% [markdown]
# Step down, wait, wait, wait; step down. What does the memory say? Read the two traces side by side: what stays between
# the steps of `faulty` and not of `plain`, how large is it, and when does it leave?

# %%
# ag.plot(before=..., after=...), ag.diagnose(..., at="peak"), faulty.allocated

# %% [markdown]
# Return a `Trainer` that overrides what is at fault. Ten minutes.
#
# - The losses of float32 training, within 2 %.
# - Layers in bfloat16, backward outside of every context, no cast left between steps.

# %% exercise="fix_trainer"
def repaired():
    """Return a subclass of `Trainer`, without the fault."""

    class Repaired(Trainer):
        """Override the method at fault here."""
        ### BEGIN SOLUTION

        def fit(self, batches):
            batches = iter(batches)
            while True:
                epoch = islice(batches, self.length)
                losses = [self.train_step(x, y) for x, y in epoch]
                if not losses:
                    return self.history
                with self.autocast():
                    self.report(losses)
        ### END SOLUTION

    return Repaired

# %%
healthy, losses_now = measure_training(repaired)
ag.plot(curves={"float32": expected, "before": losses, "after": losses_now})

# %% check="fix_trainer" points=4
def verdict_at_scale(steps, size, seed):
    exercise = "fix_trainer"
    trace, losses = measure_training(repaired, steps, size, seed)
    full = {"precision": torch.float32}
    plain, expected = measure_training(Trainer, steps, size, seed, **full)
    near = {"rtol": 0.02, "atol": 0.02, "exercise": exercise}
    ag.check.same(losses, expected, what="the losses", **near)
    trainer = repaired()(seed)
    data = batches(6, size, seed, fresh=True)
    outputs, backward_inside = watched(trainer.model, trainer.fit, data)
    ag.check.dtype(outputs, LOW, exercise=exercise)
    ag.check.dtype(list(trainer.model.parameters()), torch.float32, exercise=exercise)
    weights = sum(weight.nbytes for weight in new_model().parameters())
    ag.check.flat(trace, per_step=0.01, of=weights, steps=steps, exercise=exercise)
    ag.check.resting(trace, reference=plain, ratio=1.1, exercise=exercise)
    ag.check.peak(trace, reference=plain, ratio=0.9, exercise=exercise)
    if backward_inside:
        print("Three points of four: it trains, but backward still runs in autocast,")
        print("in the context around it.")
        return 3
    return 4


points = verdict_at_scale(steps=12, size=512, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, verdict_at_scale(steps=9, size=640, seed=3))
### END HIDDEN TESTS
points  # of 4

# %% hint="fix_trainer"
# `ag.plot(before=plain, after=faulty)`: after three of four steps something stays, and
# with every fourth step it leaves. It is half as large as the weights. What is, and what
# ends with every fourth step?
#
# Casts of weights, which die with the *outermost* context. Which contexts are open while
# `train_step` runs? The one inside it is right.
#
# Override `fit`: the same loop, with `self.autocast()` around `self.report(losses)` only,
# or around nothing.

# %% [markdown]
# The first step of each epoch saw fresh weights, the other three saw old ones. With long epochs it would have looked like
# a learning rate that is a little too small, and somebody would have tuned it for a week.

# %% reflect="where_else"
# ## Reflect
#
# Where does your code open autocast: in the loop, in a wrapper, in the library that calls your model? Who else has one
# open around it: evaluation, sampling, a profiler's warm-up?

# %% [markdown]
# ## Take away
#
# 1. One context per step, around forward and loss; nothing open around it, not even switched off.
# 2. A frozen loss with healthy memory: look for casts made in earlier steps.
# 3. Casts cost memory, activations save it: it pays at large batches. float16 needs a `GradScaler`.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 8 | Mixed-precision boundaries | loss fixed at 2.3157; 51 KiB of casts from step 0 | casts live until the outermost context ends | autocast per step, around forward and loss |
#
# Next: **09 · Device inconsistency**.

# %% right="fix_train" name="the loss outside, from float32 logits"
def train(model, optimizer, batches):
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=LOW):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %% right="fix_train" name="a decorated helper"
@torch.autocast(device.type, dtype=LOW)
def forward(model, x, y):
    return F.cross_entropy(model(x), y)


def train(model, optimizer, batches):
    losses = []
    for x, y in batches:
        loss = forward(model, x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses

# %% right="fix_train" name="no cache at all"
def train(model, optimizer, batches):
    losses = []
    low = torch.autocast(device.type, dtype=LOW, cache_enabled=False)
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        with low:
            loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()

# %% right="fix_train" name="a scaler that bfloat16 does not need"
def train(model, optimizer, batches):
    losses, scaler = [], torch.amp.GradScaler(device.type, init_scale=8.0)
    for x, y in batches:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=LOW):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="unchanged" expects="wrong results"
def train(model, optimizer, batches):
    return tidy_train(model, optimizer, batches)

# %% wrong="fix_train" name="float32 again" expects="wrong dtype"
def train(model, optimizer, batches):
    return plain_train(model, optimizer, batches)

# %% wrong="fix_train" name="a context that is switched off, around the right one" expects="wrong results"
def train(model, optimizer, batches):
    losses = []
    with torch.autocast(device.type, enabled=False):
        for x, y in batches:
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=LOW):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="the loss outside, in bfloat16" expects="2 of 3 points"
def train(model, optimizer, batches):
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=LOW):
            logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="backward inside" expects="2 of 3 points"
def train(model, optimizer, batches):
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=LOW):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="one context for all, cache cleared by hand" expects="2 of 3 points"
def train(model, optimizer, batches):
    losses = []
    with torch.autocast(device.type, dtype=LOW):
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            torch.clear_autocast_cache()
            losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="a bfloat16 model" expects="dtype"
def train(model, optimizer, batches):
    model.to(LOW)
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x.to(LOW)).float(), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="empties the cache" expects="wrong results"
import gc

def train(model, optimizer, batches):
    losses = []
    with torch.autocast(device.type, dtype=LOW):
        for x, y in batches:
            losses += plain_train(model, optimizer, [(x, y)])
            gc.collect()
            ag.device_module().empty_cache()
    return losses

# %% wrong="fix_train" name="keeps the casts of every step" expects="not flat"
kept = []

def train(model, optimizer, batches):
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        kept.append([weight.detach().to(LOW) for weight in model.parameters()])
        with torch.autocast(device.type, dtype=LOW):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %% wrong="fix_train" name="no loss at all" expects="wrong results"
def train(model, optimizer, batches):
    return [0.0 for _ in batches]

# %% wrong="fix_train" name="replaces autocast" expects="tampered"
from contextlib import nullcontext
torch.autocast = lambda *args, **kwargs: nullcontext()

def train(model, optimizer, batches):
    return plain_train(model, optimizer, batches)

# %% right="fix_trainer" name="no context around the loop"
def repaired():
    class Repaired(Trainer):
        def fit(self, batches):
            batches = iter(batches)
            while True:
                losses = [self.train_step(*pair) for pair in islice(batches, self.length)]
                if not losses:
                    return self.history
                self.report(losses)

    return Repaired

# %% right="fix_trainer" name="the report opens its own"
def repaired():
    class Repaired(Trainer):
        def fit(self, batches):
            losses = []
            for x, y in batches:
                losses.append(self.train_step(x, y))
                if len(losses) == self.length:
                    self.report(losses)
                    losses = []
            if losses:
                self.report(losses)
            return self.history

        def report(self, losses):
            with self.autocast():
                super().report(losses)

    return Repaired

# %% right="fix_trainer" name="no cache, no outer context"
def repaired():
    class Repaired(Trainer):
        def loss(self, x, y):
            options = {"enabled": self.mixed, "cache_enabled": False}
            with torch.autocast(device.type, dtype=LOW, **options):
                return F.cross_entropy(self.model(x), y, label_smoothing=0.05)

        def fit(self, batches):
            losses = [self.train_step(x, y) for x, y in batches]
            for start in range(0, len(losses), self.length):
                self.history.append({"losses": losses[start : start + self.length]})
            return self.history

    class WithSchedule(Repaired):
        def train_step(self, x, y):
            self.done = getattr(self, "done", 0) + 1
            loss = super().train_step(x, y)
            if self.done % self.length == 0:
                self.schedule.step()
            return loss

    return WithSchedule

# %% wrong="fix_trainer" name="unchanged" expects="wrong results"
def repaired():
    return Trainer

# %% wrong="fix_trainer" name="switches the outer context off for each step" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def train_step(self, x, y):
            with torch.autocast(device.type, enabled=False):
                return super().train_step(x, y)

    return Repaired

# %% wrong="fix_trainer" name="trains in float32" expects="wrong dtype"
def repaired():
    class Repaired(Trainer):
        def __init__(self, seed=0, **options):
            super().__init__(seed, precision=torch.float32)

    return Repaired

# %% wrong="fix_trainer" name="a higher learning rate" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def __init__(self, seed=0, **options):
            super().__init__(seed, **options)
            for group in self.optimizer.param_groups:
                group["lr"] = 1.0

    return Repaired

# %% wrong="fix_trainer" name="clears the cache inside the outer context" expects="3 of 4 points"
def repaired():
    class Repaired(Trainer):
        def update(self):
            super().update()
            torch.clear_autocast_cache()

    return Repaired

# %% wrong="fix_trainer" name="no cache inside the outer context" expects="3 of 4 points"
def repaired():
    class Repaired(Trainer):
        def autocast(self):
            options = {"dtype": LOW, "enabled": self.mixed, "cache_enabled": False}
            return torch.autocast(device.type, **options)

    return Repaired

# %% wrong="fix_trainer" name="epochs of one step, and the context stays" expects="3 of 4 points"
def repaired():
    class Repaired(Trainer):
        def fit(self, batches):
            number = 0
            for x, y in batches:
                with self.autocast():
                    losses = [self.train_step(x, y)]
                self.history.append({"losses": losses})
                number += 1
                if number % self.length == 0:
                    self.schedule.step()
            return self.history

    return Repaired

# %% wrong="fix_trainer" name="collects and empties" expects="wrong results"
import gc

def repaired():
    class Repaired(Trainer):
        def update(self):
            super().update()
            gc.collect()
            ag.device_module().empty_cache()

    return Repaired

# %% wrong="fix_trainer" name="stops after one epoch" expects="wrong results"
def repaired():
    class Repaired(Trainer):
        def fit(self, batches):
            return super().fit(islice(batches, 1))

    return Repaired

# %% wrong="fix_trainer" name="changes the given trainer" expects="tampered"
def repaired():
    return Trainer

Trainer.autocast = lambda self: torch.autocast(device.type, enabled=False)
