# ---
# title: Non-contiguous views
# minutes: 25
# ---

# %% [markdown]
# # 05 · Sixteen bytes that weigh a quarter of a megabyte
#
# {{badges}}
#
# **Symptom:** you store almost nothing, without any graph, and memory climbs by a whole batch per step.
#
# After this lesson you can
# - read a stride, and say what a view shows and what it keeps,
# - tell which calls copy silently and which silently do not,
# - decide with a measurement when `contiguous()` pays.
#
# About 25 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("05_non_contiguous_views")

# %% [markdown]
# ## The scene
#
# The dashboard wants a preview: four features of one sample per batch. No graph (you have done lessons 01 to 03), four numbers,
# 16 bytes. The reviewer did the arithmetic: "at 16 bytes per batch, 2 GiB last for 134 million batches. Approved."
# The job died at batch 8,000.

# %% given="world"
import torch
from torch import nn

gpu = ag.device_module()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 256), nn.Tanh()).to(device)


def batches(count, size=256, seed=0):
    """Yield `count` batches of `size` samples with 64 numbers each, on the device."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randn(size, 64, generator=random).to(device)

# %% given="leak"
@torch.no_grad()
def leaky_preview(model, batches):
    """Return the first 4 features of the first sample of every batch."""
    previews = []
    for x in batches:
        features = model(x)
        previews.append(features[0, :4])
    return previews


def measure(preview, steps=20, size=256, seed=0):
    """Record one pass. Returns its trace and its previews."""
    with ag.record(warmup=3) as trace:
        result = preview(model, trace.steps(batches(steps, size, seed)))
    return trace, result

# %% [markdown]
# ## Predict
#
# The smallest block of GPU memory is 512 bytes. So: twenty batches, four numbers each, no graph.

# %%
ag.predict(
    "Allocated memory over 20 batches will",
    ["stay flat", "grow by 512 bytes per batch, 10 kilobytes", "grow by megabytes"],
)

# %% [markdown]
# ## Run and see

# %%
before, previews = measure(leaky_preview)
ag.plot(before)

# %% [markdown]
# 256 KiB per batch: not the four numbers, but *all* features of all 256 samples. Who holds them?

# %%
ag.diagnose(before)

# %% [markdown]
# ## Why
#
# The list holds four numbers each, and the line that allocated is the model's: nobody copied anything. Look at memory itself:

# %%
x = torch.arange(12, device=device).view(3, 4)
ag.storage_map({
    "x": x,
    "x[0, :2]": x[0, :2],
    "x.t()": x.t(),
    "x.t().reshape(2, 6)": x.t().reshape(2, 6),
})

# %% [markdown]
# A tensor is a **storage** (the bytes), and three numbers on how to walk through it: shape, **stride** (how far to the next
# row, and to the next column) and offset. A **view** is another walk through the same storage. It costs nothing, and it
# keeps the whole storage alive, pale cells included. Where no walk will do, `reshape` copies, and does not tell you.

# %%
x = torch.randn(256, 256, device=device)
print(f"{'':36}{'shows':>12}{'keeps':>12}{'new memory':>12}")
for code in (
    "x.t()",
    "x[0, :4]",
    "x[0].expand(64, 256)",
    "x.reshape(-1)",
    "x.t().reshape(-1)",
    "x[0].expand(64, 256).reshape(-1)",
    "x[:4].contiguous()",
    "x[:, :4].contiguous()",
):
    start = gpu.memory_allocated()
    y = eval(code)
    new = gpu.memory_allocated() - start
    sizes = map(ag.human, (y.nbytes, y.untyped_storage().nbytes(), new))
    print(f"{code:36}" + "".join(f"{size:>12}" for size in sizes))
    del y

# %% [markdown]
# Two surprises. The same `reshape` is free or a full copy, depending on the strides. And `contiguous()` promises a *layout*,
# not a copy: four rows are contiguous already, so it returns the very same view, with all 256 KiB behind it.
# The one call that always makes a copy of its own is `clone()`.

# %% [markdown]
# **Folklore:** "non-contiguous tensors are slow, call `contiguous()` first." Here `a` is a transpose. The times are ratios,
# side by side on this machine's CPU (a GPU has others); the bytes are extra peak on the device:

# %%
from time import perf_counter

on_cpu = torch.randn(1024, 1024), torch.randn(1024, 1024)
on_device = [tensor.to(device) for tensor in on_cpu]


def peak(work):
    """Bytes on the device above the start, at the worst moment."""
    start = gpu.memory_allocated()
    gpu.reset_peak_memory_stats()
    work(*on_device)
    return gpu.max_memory_allocated() - start


def seconds(work):
    begin = perf_counter()
    work(*on_cpu)
    return perf_counter() - begin


def ten_sums(a, b):
    for _ in range(10):
        a + b

# %%
for name, work in {
    "a * 2": lambda a, b: a * 2,
    "a.sum(1)": lambda a, b: a.sum(1),
    "a @ b": lambda a, b: a @ b,
    "a + b": lambda a, b: a + b,
    "a + b, ten times": ten_sums,
}.items():
    pair = lambda a, b: work(a.t(), b), lambda a, b: work(a.t().contiguous(), b)
    rounds = [[seconds(way) for way in pair] for _ in range(8)]
    plain, dense = map(min, zip(*rounds))
    plain_peak, dense_peak = [(peak(way), peak(way))[1] for way in pair]
    more = ag.human(dense_peak - plain_peak)
    print(f"{name:18} contiguous() first: {dense / plain:5.2f} x the time, {more} more")
del on_cpu, on_device
gpu.empty_cache()

# %% [markdown]
# Above 1, `contiguous()` cost more than it brought: for work on one tensor it is a copy for nothing. For a matrix product it
# hardly matters. It pays where two tensors are walked in different orders, most of all again and again.
# Times wander from run to run; the price in memory does not: a whole copy, every time.

# %% [markdown]
# ## Exercise: `fix_preview`
#
# Store the four numbers and let the other 65,532 go. About one line, five minutes.
#
# - Return a list with one tensor of 4 per batch, the same values as before.
# - Memory must not grow by more than 1 % of the leak.
# - What you return keeps no more bytes than it shows.

# %% exercise="fix_preview"
@torch.no_grad()
def preview(model, batches):
    """Return the first 4 features of the first sample of every batch, and keep nothing else."""
    previews = []
    for x in batches:
        features = model(x)
        ### BEGIN SOLUTION
        previews.append(features[0, :4].clone())
        ### END SOLUTION
    return previews

# %% [markdown]
# Your own run beside the leak. While the stub is still empty, the next two cells say so.

# %%
after, previews = measure(preview)
ag.plot(before=before, after=after)

# %% check="fix_preview" points=3
def kept(tensors):
    """Bytes of all storages behind a list of tensors, each counted once."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def verdict(steps, size, seed):
    """Return the points: 2 for a flat line, 3 if nothing but the previews is kept."""
    leak, expected = measure(leaky_preview, steps, size, seed)
    expected = [row.clone() for row in expected]  # the leak ends here
    trace, result = measure(preview, steps, size, seed)
    ag.check.same(result, expected, what="the previews", exercise="fix_preview")
    ag.check.flat(trace, per_step=leak.slope / 100, steps=steps, exercise="fix_preview")
    ag.check.no_graph(result, exercise="fix_preview")
    held, shown = kept(result), sum(row.nbytes for row in result)
    if held > shown:
        print(f"2 of 3 points: {ag.human(held)} are kept to show {ag.human(shown)}: copy less")
        return 2
    return ag.check.storage(result, exercise="fix_preview", points=3)


points = verdict(steps=20, size=256, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, verdict(steps=9, size=192, seed=7))
points = min(points, verdict(steps=31, size=320, seed=3))
### END HIDDEN TESTS
points

# %% [markdown]
# Stuck? Each run of the next cell gives one more hint: where to look, which concept, which call.

# %% hint="fix_preview"
# Print `previews[0].untyped_storage().nbytes()` beside `previews[0].nbytes`, and
# compare with the table above.
#
# A slice is a walk through the storage of the whole batch. You want the four numbers
# in a storage of their own, made before the batch is let go. Which of the calls in
# the table *always* copies?
#
# `features[0, :4].clone()`. The order matters: `features.clone()[0, :4]` copies the
# batch and keeps a view of the copy.

# %% [markdown]
# ## Turn the knobs
#
# `.contiguous()` cures one of the two cuts and not the other. Which one, and why? `.detach()` and `.reshape(4)`: any?

# %%
CUTS = {"a row": lambda f: f[0, :4], "a column": lambda f: f[:4, 0]}
COPIES = {
    "as it is": lambda v: v,
    ".detach()": lambda v: v.detach(),
    ".reshape(4)": lambda v: v.reshape(4),
    ".contiguous()": lambda v: v.contiguous(),
    ".clone()": lambda v: v.clone(),
}


def rerun(cut="a row", then="as it is", size=256):
    @torch.no_grad()
    def kept_like_this(model, batches):
        return [COPIES[then](CUTS[cut](model(x))) for x in batches]

    return measure(kept_like_this, size=size)[0]


ag.explore(rerun, cut=list(CUTS), then=list(COPIES), size=(64, 512, 64))

# %% [markdown]
# The row is contiguous already, so `.contiguous()` hands it back; the column has stride 256, so it must copy. A fix that works
# until somebody transposes the tensor is not a fix. `.clone()` does not care.

# %% [markdown]
# ## Now at scale
#
# An autoencoder for images, with everything a team adds over a year: a window of recent codes, the hardest patch of each
# batch for the weekly report, a pulse of the gradients. It passed review three times. Do not read it yet: record it first.

# %% given="scale"
from collections import deque

import torch.nn.functional as F


class Training:
    """Trains an autoencoder on 32 x 32 images and collects material for a report."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.encoder = nn.Linear(1024, 96).to(device)
        self.decoder = nn.Linear(96, 1024).to(device)
        self.weights = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(self.weights, lr=1e-3)
        self.average = torch.zeros((), device=device)
        self.recent = deque(maxlen=3)
        self.losses, self.hardest, self.pulses = [], [], []

    def run(self, batches):
        """Train on each batch once. Returns the report."""
        for batch in batches:
            images = self.prepared(batch)
            errors = self.errors(images)
            self.update(errors.mean())
            self.keep_loss(errors)
            self.keep_hardest(images, errors)
            self.keep_pulse()
        return self.report()

    def prepared(self, batch):
        """Bring a batch to mean 0 and deviation 1."""
        return (batch - batch.mean()) / batch.std()

    def errors(self, images):
        """Reconstruction error of each image."""
        pixels = images.flatten(1)
        codes = torch.tanh(self.encoder(pixels))
        self.recent.append(codes.detach()[:2])
        return F.mse_loss(self.decoder(codes), pixels, reduction="none").mean(1)

    def update(self, loss):
        """One step of the optimizer."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()

    def keep_loss(self, errors):
        """The mean error as a number, and its moving average on the device."""
        mean = errors.detach().mean()
        self.average.lerp_(mean, 0.1)
        self.losses.append(mean.item())

    def keep_hardest(self, images, errors):
        """The upper left corner of the image with the largest error."""
        worst = errors.argmax().item()
        self.hardest.append(images.detach()[worst, :8, :8])

    def keep_pulse(self):
        """Eight gradients of the encoder."""
        gradient = self.encoder.weight.grad
        self.pulses.append(gradient.reshape(-1)[:8])

    def report(self):
        return {"losses": self.losses, "hardest": self.hardest, "pulses": self.pulses}

# %% given="measure_training"
def photos(count, size=64, seed=0):
    """Yield `count` batches of `size` images of 32 x 32, on the device."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.rand(size, 32, 32, generator=random).to(device)


def measure_training(make, steps=20, size=64, seed=0):
    """Record the training that `make(seed)` returns. Returns its trace and its report."""
    with ag.record(warmup=5) as trace:
        training = make(seed)
        report = training.run(trace.steps(photos(steps, size, seed)))
    return trace, report

# %%
before_training, report = measure_training(Training)
ag.plot(before_training, prediction=False)

# %%
ag.diagnose(before_training)

# %% [markdown]
# ## Exercise: `repair_training`
#
# Two rows, two leaks. Mind what the table says: the *line* allocated the whole, the *holder* has the part. Override the
# methods at fault, and only those. Ten minutes.
#
# - The report stays the same: losses, patches and pulses, as tensors.
# - Memory flat, and the report keeps no more bytes than it shows. One leak of two mended is worth half.

# %% exercise="repair_training"
def repaired(seed):
    """Return a `Training` that keeps no more than it reports."""

    class Repaired(Training):
        ### BEGIN SOLUTION
        def keep_hardest(self, images, errors):
            worst = errors.argmax().item()
            self.hardest.append(images.detach()[worst, :8, :8].clone())

        def keep_pulse(self):
            gradient = self.encoder.weight.grad
            self.pulses.append(gradient.reshape(-1)[:8].clone())
        ### END SOLUTION

    return Repaired(seed)

# %%
report = None  # let go of the run above
after_training, report = measure_training(repaired)
ag.plot(before=before_training, after=after_training)

# %% [markdown]
# Still climbing? Diagnose your own run: `ag.diagnose(after_training)`.

# %% check="repair_training" points=4
def halves(steps, size, seed):
    """Return the points: 2 if one of the two leaks is gone, 4 if both are."""
    leak, expected = measure_training(Training, steps, size, seed)
    expected = {  # copies, so that the leak ends here
        name: [part.clone() if torch.is_tensor(part) else part for part in parts]
        for name, parts in expected.items()
    }
    trace, report = measure_training(repaired, steps, size, seed)
    ag.check.same(report, expected, what="the report", exercise="repair_training")
    left = trace.slope / leak.slope
    if 0.01 < left < 0.75:
        print(f"2 of 4 points: {left:.0%} of the growth is left; record and diagnose again")
        return 2
    ag.check.flat(trace, per_step=leak.slope / 100, steps=steps, exercise="repair_training")
    return ag.check.storage(report, exercise="repair_training", points=4)


points = halves(steps=20, size=64, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, halves(steps=13, size=80, seed=5))
points = min(points, halves(steps=17, size=48, seed=11))
### END HIDDEN TESTS
points

# %% hint="repair_training"
# The table names two lists, `hardest` and `pulses`. Look for the methods that append
# to them. `recent` grows too, but only to three entries: a window is no leak.
#
# What does each `append` store: a storage of its own, or a walk through a batch of
# images, through a gradient? And `reshape(-1)` of something contiguous copies
# nothing.
#
# End both appended values with `.clone()`: `images.detach()[worst, :8, :8].clone()`,
# `gradient.reshape(-1)[:8].clone()`.

# %% reflect="where_else"
# ## Reflect
#
# Where does your code keep a part of something: a crop, the `[CLS]` token, the last hidden state of a sequence, `logits[:, -1]`,
# a row of a dataset? How much larger is the whole?

# %% [markdown]
# ## Take away
#
# 1. A view shows a part and keeps all: compare `nbytes` with `untyped_storage().nbytes()`.
# 2. `reshape` copies when it must, `contiguous()` when it must, `clone()` always.
# 3. `contiguous()` is a whole copy. It pays for mixed layouts used often; elsewhere measure first.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 5 | Non-contiguous views | +256 KiB per batch here, for 16 bytes stored | a view keeps its whole base alive | `.clone()` the part |
#
# Next: **06 · Allocations in loops**.

# %% right="fix_preview" name="a buffer of its own, filled per batch"
@torch.no_grad()
def preview(model, batches):
    previews = []
    for x in batches:
        row = torch.empty(4, device=x.device)
        row.copy_(model(x)[0, :4])
        previews.append(row)
    return previews

# %% right="fix_preview" name="only the first sample runs through the model"
@torch.no_grad()
def preview(model, batches):
    return [model(x[:1])[0, :4].clone() for x in batches]

# %% right="fix_preview" name="moved to the host, a copy of the part"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4].clone().cpu() for x in batches]

# %% right="fix_preview" name="an index list copies, a slice does not"
@torch.no_grad()
def preview(model, batches):
    wanted = torch.arange(4, device=device)
    return [model(x)[0].index_select(0, wanted) for x in batches]

# %% right="fix_preview" name="through Python numbers and back"
@torch.no_grad()
def preview(model, batches):
    return [torch.tensor(model(x)[0, :4].tolist()) for x in batches]

# %% wrong="fix_preview" name="unchanged" expects="not flat"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4] for x in batches]

# %% wrong="fix_preview" name="contiguous, of what is contiguous already" expects="not flat"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4].contiguous() for x in batches]

# %% wrong="fix_preview" name="detached, and still a view" expects="not flat"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4].detach() for x in batches]

# %% wrong="fix_preview" name="reshaped, and still a view" expects="not flat"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4].reshape(4) for x in batches]

# %% wrong="fix_preview" name="a copy of the whole, a view of the copy" expects="not flat"
@torch.no_grad()
def preview(model, batches):
    return [model(x).clone()[0, :4] for x in batches]

# %% wrong="fix_preview" name="one copy, when the loop is over" expects="not flat"
@torch.no_grad()
def preview(model, batches):
    return list(torch.stack([model(x)[0, :4] for x in batches]))

# %% wrong="fix_preview" name="copies the row and keeps a view of it" expects="2 of 3 points"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0].clone()[:4] for x in batches]

# %% wrong="fix_preview" name="collects garbage and empties the cache" expects="not flat"
import gc


@torch.no_grad()
def preview(model, batches):
    previews = []
    for x in batches:
        previews.append(model(x)[0, :4])
        gc.collect()
        gpu.empty_cache()
    return previews

# %% wrong="fix_preview" name="keeps the graph" expects="not flat"
def preview(model, batches):
    return [model(x)[0, :4].clone() for x in batches]

# %% wrong="fix_preview" name="only the last batch" expects="wrong results"
@torch.no_grad()
def preview(model, batches):
    for x in batches:
        features = model(x)
    return [features[0, :4].clone()]

# %% wrong="fix_preview" name="a constant" expects="wrong results"
def preview(model, batches):
    return [torch.zeros(4) for _ in batches]

# %% wrong="fix_preview" name="the storage lies about its size" expects="tampered"
@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4] for x in batches]


torch.UntypedStorage.nbytes = lambda storage: 16

# %% wrong="fix_preview" name="a class that hides its storage" expects="wrong results"
class Small(torch.Tensor):
    def untyped_storage(self):
        return torch.zeros(4).untyped_storage()


@torch.no_grad()
def preview(model, batches):
    return [model(x)[0, :4].as_subclass(Small) for x in batches]

# %% right="repair_training" name="copies into the host's memory"
def repaired(seed):
    class Repaired(Training):
        def keep_hardest(self, images, errors):
            worst = errors.argmax().item()
            self.hardest.append(images[worst, :8, :8].detach().clone().cpu())

        def keep_pulse(self):
            self.pulses.append(self.encoder.weight.grad[0, :8].clone().cpu())

    return Repaired(seed)

# %% right="repair_training" name="the base class first, then a copy of what it stored"
def repaired(seed):
    class Repaired(Training):
        def keep_hardest(self, images, errors):
            super().keep_hardest(images, errors)
            self.hardest[-1] = self.hardest[-1].clone()

        def keep_pulse(self):
            super().keep_pulse()
            self.pulses[-1] = self.pulses[-1].clone()

    return Repaired(seed)

# %% right="repair_training" name="lists that copy what they are given"
class Copies(list):
    """A list that stores a copy of each tensor."""

    def append(self, tensor):
        super().append(tensor.clone())


def repaired(seed):
    training = Training(seed)
    training.hardest, training.pulses = Copies(), Copies()
    return training

# %% right="repair_training" name="a new loop"
def repaired(seed):
    class Repaired(Training):
        def run(self, batches):
            for batch in batches:
                images = self.prepared(batch)
                errors = self.errors(images)
                self.update(errors.mean())
                self.keep_loss(errors)
                self.hardest.append(images[errors.argmax()][:8, :8].clone())
                self.pulses.append(self.encoder.weight.grad[0][:8] + 0)
            return self.report()

    return Repaired(seed)

# %% wrong="repair_training" name="unchanged" expects="not flat"
def repaired(seed):
    return Training(seed)

# %% wrong="repair_training" name="only the patches" expects="2 of 4 points"
def repaired(seed):
    class Repaired(Training):
        def keep_hardest(self, images, errors):
            worst = errors.argmax().item()
            self.hardest.append(images.detach()[worst, :8, :8].clone())

    return Repaired(seed)

# %% wrong="repair_training" name="only the pulses" expects="2 of 4 points"
def repaired(seed):
    class Repaired(Training):
        def keep_pulse(self):
            self.pulses.append(self.encoder.weight.grad.flatten()[:8].clone())

    return Repaired(seed)

# %% wrong="repair_training" name="contiguous copies the patch, and not the pulse" expects="2 of 4 points"
def repaired(seed):
    class Repaired(Training):
        def keep_hardest(self, images, errors):
            worst = errors.argmax().item()
            self.hardest.append(images.detach()[worst, :8, :8].contiguous())

        def keep_pulse(self):
            self.pulses.append(self.encoder.weight.grad.reshape(-1)[:8].contiguous())

    return Repaired(seed)

# %% wrong="repair_training" name="copies more than it shows" expects="keeps more than it shows"
def repaired(seed):
    class Repaired(Training):
        def keep_hardest(self, images, errors):
            self.hardest.append(images.detach()[errors.argmax().item()].clone()[:8, :8])

        def keep_pulse(self):
            self.pulses.append(self.encoder.weight.grad.reshape(-1)[:8].clone())

    return Repaired(seed)

# %% wrong="repair_training" name="gradients set to zero stay the same storage" expects="wrong results"
def repaired(seed):
    class Repaired(Training):
        def update(self, loss):
            self.optimizer.zero_grad(set_to_none=False)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()

        def keep_hardest(self, images, errors):
            worst = errors.argmax().item()
            self.hardest.append(images.detach()[worst, :8, :8].clone())

    return Repaired(seed)

# %% wrong="repair_training" name="collects nothing for the report" expects="wrong results"
def repaired(seed):
    class Repaired(Training):
        def keep_hardest(self, images, errors):
            pass

        def keep_pulse(self):
            pass

    return Repaired(seed)

# %% wrong="repair_training" name="never trains" expects="wrong results"
def repaired(seed):
    class Repaired(Training):
        def run(self, batches):
            return {"losses": [1.0 for _ in batches], "hardest": [], "pulses": []}

    return Repaired(seed)

# %% wrong="repair_training" name="mends the given class itself" expects="tampered"
def repaired(seed):
    def keep_hardest(self, images, errors):
        self.hardest.append(images.detach()[errors.argmax().item(), :8, :8].clone())

    def keep_pulse(self):
        self.pulses.append(self.encoder.weight.grad.reshape(-1)[:8].clone())

    Training.keep_hardest, Training.keep_pulse = keep_hardest, keep_pulse
    return Training(seed)

# %% wrong="repair_training" name="collects garbage and empties the cache at every step" expects="not flat"
import gc


def repaired(seed):
    class Repaired(Training):
        def update(self, loss):
            super().update(loss)
            gc.collect()
            gpu.empty_cache()

    return Repaired(seed)
