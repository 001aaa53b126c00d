# ---
# title: Allocations in loops
# minutes: 25
# ---

# %% [markdown]
# # 06 · The loop that never grows and runs out anyway
#
# {{badges}}
#
# **Symptom:** allocated memory is perfectly flat, and the peak is several times what the data need.
#
# After this lesson you can
# - count a loop's allocations, and say what they really cost,
# - see on a map why most of them are almost free,
# - work in place or into a buffer, and tell when autograd forbids it.
#
# About 25 minutes.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("06_allocations_in_loops")

# %% [markdown]
# ## The scene
#
# "Never allocate in a loop, it leaks." "Nonsense, PyTorch caches everything, it is free." Both answers stand under the same
# question, both have many upvotes, and neither has a measurement. Here is a loop that smooths a picture, step by step.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F

gpu = ag.device_module()


def panorama(width=3200, seed=0):
    """A grey picture of noise, 128 pixels high, on the device."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(128, width, generator=random).to(device)


def blurring():
    """A matrix whose product with a picture blurs it from top to bottom."""
    place = torch.arange(128)
    weights = torch.exp(-0.5 * (place[:, None] - place).abs())
    return (weights / weights.sum(1, keepdim=True)).to(device)

# %% given="leak"
def greedy_smooth(picture, blur, steps):
    """Return the picture, moved a little towards its blurred self at every step."""
    for _ in steps:
        mean = blur @ picture
        change = mean - picture
        part = 0.2 * change
        picture = picture + part
        picture = picture.clamp(0, 1)
    return picture


def measure(smooth, steps=20, width=3200, seed=0):
    """Record it, from an empty cache. Returns trace, result, and the picture given."""
    gpu.empty_cache()
    given, blur = panorama(width, seed), blurring()
    with ag.record(warmup=3) as trace:
        result = smooth(given, blur, trace.steps(range(steps)))
    return trace, result, given

# %% [markdown]
# ## Predict
#
# Five new pictures of 1.6 MiB at every step, twenty steps: over 150 MiB.
# Five lessons have taught you to expect the worst. So:

# %%
ag.predict(
    "Allocated memory over 20 steps will",
    ["stay flat", "grow by megabytes per step", "grow faster and faster"],
)

# %% [markdown]
# ## Run and see

# %%
before, smoothed, given = measure(greedy_smooth)
ag.plot(before)

# %%
ag.diagnose(before)

# %% [markdown]
# Flat. Each name is bound anew, the old tensor dies, its block is used again. "Allocating in a loop leaks" is wrong, and
# `diagnose`, which looks for growth, has nothing to say. What is there to see is the **peak**, five pictures above the start,
# and the **traffic**: which lines allocate, and how much per step.

# %%
ag.traffic(before)

# %% [markdown]
# ## Why it is cheaper than it looks
#
# A new tensor asks PyTorch's caching allocator, not the GPU. Only when no cached block fits does the allocator ask the GPU
# for a segment (`cudaMalloc`, slow). Count both, and look at the map:

# %%
def asked(trace):
    """Allocations by tensors, and requests to the GPU, while recording."""
    actions = [event["action"] for event in trace.snapshot()["device_traces"][0]]
    return actions.count("alloc"), actions.count("segment_alloc")


print("%d allocations by tensors, %d requests to the GPU" % asked(before))
ag.block_map(before)

# %% [markdown]
# A hundred allocations, and hardly a request: the blocks that die are handed out again, out of one segment. That is the
# cache, hiding the cost. What it cannot hide is how many blocks take turns: the names `mean`, `change` and `part` still hold
# the last step's tensors while the next ones are made.

# %% [markdown]
# ## When the cache cannot help
#
# Blocks are reused when a size comes back. Grow a tensor with `torch.cat` and no size ever does:

# %%
def grown(parts, count):
    rows = torch.empty(0, 4096, device=device)
    for part in parts:
        rows = torch.cat([rows, part])
    return rows


def listed(parts, count):
    return torch.cat([part for part in parts])


def filled(parts, count):
    rows = torch.empty(16 * count, 4096, device=device)
    for number, part in enumerate(parts):
        rows[16 * number : 16 * (number + 1)] = part
    return rows


def collect(how, count):
    """Collect `count` parts of 256 KiB each, from an empty cache. Returns the trace."""
    gpu.empty_cache()
    parts = (torch.ones(16, 4096, device=device) for _ in range(count))
    with ag.record(warmup=3) as trace:
        how(trace.steps(parts), count)
    return trace

# %%
WAYS = {"cat in the loop": grown, "list, cat at the end": listed, "preallocated": filled}
print(f"{'':22}{'parts':>6}{'result':>12}{'traffic':>12}{'peak':>12}{'requests':>10}")
for name, how in WAYS.items():
    for count in (10, 20, 40):
        trace = collect(how, count)
        traffic = count * sum(line.nbytes for line in ag.traffic(trace).lines)
        sizes = count * 2**18, traffic, trace.highest - trace.baseline
        row = "".join(f"{ag.human(size):>12}" for size in sizes)
        print(f"{name:22}{count:6}{row}{asked(trace)[1]:10}")

# %% [markdown]
# Twice the parts, four times the traffic: `cat` copies all that was collected so far, every time. Its peak is twice the result,
# because old and new are alive together. A list with one `cat` at the end copies once, with the same peak. The
# preallocated buffer needs little more than the result.

# %% [markdown]
# ## When autograd forbids it
#
# Buffers and in-place operations overwrite. Autograd needs some values later, and counts versions to notice:

# %%
from textwrap import shorten

weight = torch.ones(4, device=device, requires_grad=True)
buffer = torch.empty(4, device=device)


def into_a_buffer():
    torch.mul(weight, 2, out=buffer)


def on_a_weight():
    weight.add_(1)


def on_what_backward_needs():
    y = weight.sigmoid()
    y.mul_(2)
    y.sum().backward()


def on_what_nobody_needs():
    y = weight * 2
    y.add_(1)
    y.sum().backward()

# %%
for attempt in (into_a_buffer, on_a_weight, on_what_backward_needs, on_what_nobody_needs):
    try:
        attempt()
        print(f"{attempt.__name__:24} works")
    except RuntimeError as error:
        print(f"{attempt.__name__:24} {shorten(str(error), 68)}")

# %% [markdown]
# Three mistakes, all loud, none with a wrong gradient. Under `no_grad` (inference, moving averages, optimizers) both tools are
# free to use; in a graph, where the overwritten value is not saved. **Folklore:** "`nn.ReLU(inplace=True)` saves an activation
# per layer." It is allowed, because ReLU's backward reads its own result. Does it save?

# %%
for inplace in (False, True):
    pairs = [(nn.Linear(256, 256), nn.ReLU(inplace)) for _ in range(4)]
    net = nn.Sequential(*(layer for pair in pairs for layer in pair)).to(device)
    x = torch.randn(1024, 256, device=device)
    trace = ag.record(lambda: net(x).sum().backward(), steps=3)
    print(f"inplace={inplace}: peak {ag.human(trace.highest - trace.baseline)} above the start")

# %% [markdown]
# Not a byte, here: nothing saves the tensor *before* the ReLU, so it dies either way, and the peak is elsewhere.

# %% [markdown]
# ## Exercise: `fix_smooth`
#
# Two lines, five minutes: the blurred picture into the buffer `mean`, then the step and the clamp in place.
#
# - The same picture as before; the one you were given stays as it is.
# - No allocation per step (up to two are worth 2 of 3 points), and a peak of two pictures.
# - On the device: no copies to the host and back.

# %% exercise="fix_smooth"
def smooth(picture, blur, steps):
    """Return the picture, smoothed, allocating nothing per step."""
    picture, mean = picture.clone(), torch.empty_like(picture)
    for _ in steps:
        ### BEGIN SOLUTION
        torch.mm(blur, picture, out=mean)
        picture.lerp_(mean, 0.2).clamp_(0, 1)
        ### END SOLUTION
    return picture

# %%
after, smoothed, given = measure(smooth)
ag.plot(before=before, after=after)

# %% check="fix_smooth" points=3
def verdict(steps, width, seed):
    """Return the points: 2 for at most two allocations per step, 3 for none."""
    _, expected, _ = measure(greedy_smooth, steps, width, seed)
    trace, result, given = measure(smooth, steps, width, seed)
    ag.check.same(result, expected, what="the picture", exercise="fix_smooth")
    ag.check.same(given, panorama(width, seed), what="the given picture", exercise="fix_smooth")
    ag.check.device(result, device, exercise="fix_smooth")
    ag.check.copies(trace, h2d=0, d2h=0, after_loop=0, exercise="fix_smooth")
    ag.check.allocations(trace, per_step=2, exercise="fix_smooth")
    busiest = max(sample.allocations for sample in trace.steady)
    if busiest:
        print(f"2 of 3 points: {busiest} per step left; ag.traffic(after) names the line")
        return 2
    ag.check.allocations(trace, per_step=0, exercise="fix_smooth")
    two = 2 * result.nbytes
    return ag.check.peak(trace, reference=two, exercise="fix_smooth", points=3)


points = verdict(steps=20, width=3200, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, verdict(steps=9, width=2500, seed=7))
points = min(points, verdict(steps=31, width=1900, seed=3))
### END HIDDEN TESTS
points

# %% hint="fix_smooth"
# `ag.traffic(before)` lists five lines. In your loop, every one of them must write
# into memory that exists already.
#
# Functions such as `torch.mm` take `out=`, a tensor to write into. Methods that end
# in an underscore write into their own tensor. "A part of the way from a to b" is one
# operation: `lerp`.
#
# `torch.mm(blur, picture, out=mean)`, then `picture.lerp_(mean, 0.2).clamp_(0, 1)`.

# %% [markdown]
# ## Turn the knobs
#
# Three ways to collect. Which one has the flat line, and does it pay for that at the start? Double the parts:
# which *peak* runs away from the result? And what does *reserved* do meanwhile?

# %%
def rerun(way="cat in the loop", parts=20):
    return collect(WAYS[way], parts)


ag.explore(rerun, way=list(WAYS), parts=(10, 60, 10))

# %% [markdown]
# The buffer is the only line that says in step 0 what the loop will need at the end. If that is too much, it fails
# at once, and not after nine hours.

# %% [markdown]
# ## Now at scale
#
# A small sequence model, a moving average of its weights, and all its outputs kept for a calibration plot. It trains well, and
# nobody can explain its peak. Record first, read later.

# %% given="scale"
class Training:
    """Trains on `steps` batches of `size` sequences of 16 tokens with 16 features."""

    def __init__(self, steps, size, seed):
        torch.manual_seed(seed)
        self.steps, self.size = steps, size
        layers = nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 16)
        self.model = nn.Sequential(*layers).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.time = torch.arange(16, device=device) / 16
        self.averages = [w.detach().clone() for w in self.model.parameters()]
        self.outputs = torch.empty(0, 16, 16, device=device)
        self.losses = []

    def run(self, batches):
        """Train on each batch once. Returns the report."""
        for x, y in batches:
            predicted = self.model(x + self.positions())
            self.keep(predicted.detach())
            loss = F.mse_loss(predicted, y)
            self.update(loss)
            self.average()
            self.losses.append(loss.item())
        return self.report()

    def positions(self):
        """Eight sine and eight cosine waves over the sequence, from slow to fast."""
        waves = torch.empty(16, 0, device=device)
        for speed in range(8):
            angle = self.time[:, None] * speed
            waves = torch.cat([waves, torch.sin(angle), torch.cos(angle)], dim=1)
        return waves

    def keep(self, predicted):
        """Keep every prediction, for the calibration plot."""
        self.outputs = torch.cat([self.outputs, predicted])

    def update(self, loss):
        """One step of the optimizer, with clipped gradients."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def average(self):
        """Move the averages one hundredth of the way to the weights."""
        pairs = zip(self.averages, self.model.parameters())
        self.averages = [0.99 * a + 0.01 * w.detach() for a, w in pairs]

    def report(self):
        return {"losses": self.losses, "outputs": self.outputs, "averages": self.averages}

# %% given="measure_training"
def sequences(count, size=64, seed=0):
    """Yield `count` pairs (x, y) of `size` sequences, on the device."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(size, 16, 16, generator=random).to(device)
        yield x, x.flip(1)


class Bare:
    """Model, loss and optimizer alone: what no repair can do without."""

    def __init__(self, steps, size, seed):
        torch.manual_seed(seed)
        layers = nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 16)
        self.model = nn.Sequential(*layers).to(device)
        self.weights = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.weights, lr=0.1, momentum=0.9)

    def run(self, batches):
        for x, y in batches:
            loss = F.mse_loss(self.model(x + x[0]), y)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()
            loss.item()


def measure_training(make, steps=30, size=64, seed=0):
    """Record the training that `make(steps, size, seed)` returns; trace and report."""
    with ag.record(warmup=5) as trace:
        training = make(steps, size, seed)
        report = training.run(trace.steps(sequences(steps, size, seed)))
    return trace, report


def rate(trace):
    """Allocations per step; those after the loop count too, but for 8."""
    late = max(0, trace.after_loop.allocations - 8)
    return (sum(sample.allocations for sample in trace.steady) + late) / len(trace.steady)

# %%
before_training, report = measure_training(Training)
ag.plot(before_training, prediction=False)

# %% [markdown]
# 64 KiB per step are the outputs: we asked for those. Everything else is in the peak, in the allocations per step, and here:

# %%
ag.traffic(before_training)

# %% [markdown]
# ## Exercise: `repair_training`
#
# Three methods are wasteful, each in a way of its own. Override them, and only them. Ten minutes.
#
# - The report stays the same.
# - Allocations per step: at most 2 more than model, loss and optimizer need (2 points, one for each of two faults).
# - Peak: the kept outputs count once, not twice (2 points).

# %% exercise="repair_training"
def repaired(steps, size, seed):
    """Return a `Training` that allocates once what every step needs."""

    class Repaired(Training):
        ### BEGIN SOLUTION
        def __init__(self, steps, size, seed):
            super().__init__(steps, size, seed)
            self.waves = super().positions()
            self.outputs = torch.empty(steps * size, 16, 16, device=device)

        def positions(self):
            return self.waves

        def keep(self, predicted):
            start = len(self.losses) * self.size
            self.outputs[start : start + self.size] = predicted

        def average(self):
            for a, w in zip(self.averages, self.model.parameters()):
                a.lerp_(w.detach(), 0.01)
        ### END SOLUTION

    return Repaired(steps, size, seed)

# %%
report = None  # let go of the run above
after_training, report = measure_training(repaired)
ag.plot(before=before_training, after=after_training)

# %% [markdown]
# Still too many, or too high? `ag.traffic(after_training)` names the lines that are left.

# %% check="repair_training" points=4
def points_for(steps, size, seed):
    """Return up to 2 points for the allocations per step and up to 2 for the peak."""
    bare, _ = measure_training(Bare, 12, size, seed)
    leak, expected = measure_training(Training, steps, size, seed)
    trace, report = measure_training(repaired, steps, size, seed)
    ag.check.same(report, expected, what="the report", exercise="repair_training")
    least, most, mine = rate(bare), rate(leak), rate(trace)
    room = int(1.2 * (bare.highest - bare.baseline + expected["outputs"].nbytes))
    in_loop = max(sample.peak for sample in trace.steady) - trace.baseline
    reached = trace.highest - trace.baseline
    counted = 2 if mine <= least + 2 else int(mine - least < 0.9 * (most - least))
    peak = 2 if reached <= room else int(in_loop <= room)
    if counted == 2 or counted + peak == 0:
        ag.check.allocations(trace, per_step=least + 2, exercise="repair_training")
    else:
        print(f"{counted} of 2 points: {mine:g} allocations per step, {least + 2:g} allowed")
    if peak == 2:
        ag.check.peak(trace, reference=room, ratio=1, exercise="repair_training")
    else:
        where = "in the loop" if not peak else "after the loop, not in it"
        print(f"{peak} of 2 points: the peak is {ag.human(reached)} {where}, {ag.human(room)} allowed")
    return counted + peak


points = points_for(steps=30, size=64, seed=0)
### BEGIN HIDDEN TESTS
points = min(points, points_for(steps=40, size=48, seed=5))
### END HIDDEN TESTS
points

# %% hint="repair_training"
# `ag.traffic` names three lines of `Training` that model, loss and optimizer do not
# need: most bytes, most allocations, and a dozen in between. Which method is each in?
#
# One of the three computes the same numbers at every step. One grows a tensor whose
# final size is known from the start. One makes new tensors to replace old ones of the
# same shape.
#
# Call `super().positions()` once in `__init__`. Preallocate `torch.empty(steps *
# size, 16, 16, device=device)` and write slices. Move each average with
# `a.lerp_(w.detach(), 0.01)`.

# %% reflect="where_else"
# ## Reflect
#
# Where does your code call `torch.cat`, `append` and `stack`, or build a mask, inside a loop? Which of them know their final size
# beforehand? Which run under autograd, and so cannot have a buffer?

# %% [markdown]
# ## Take away
#
# 1. Allocating in a loop does not leak, and mostly does not even ask the GPU. It costs peak and traffic.
# 2. `cat` in a loop copies everything every time: twice the steps, four times the traffic, twice the peak.
# 3. Preallocate and fill; `out=` and `_` methods where no graph needs the old values.

# %% [markdown]
# | # | Pitfall | Symptom | Root cause | Fix |
# |---|---|---|---|---|
# | 6 | Allocations in loops | flat; peak 5 pictures instead of 2, 5 allocations per step here | new tensors, or `cat`, at every step | preallocate, `out=`, in place |
#
# Next: **07 · Gradient accumulation**.

# %% right="fix_smooth" name="sums in place"
def smooth(picture, blur, steps):
    picture, mean = picture.clone(), torch.empty_like(picture)
    for _ in steps:
        torch.mm(blur, picture, out=mean)
        mean.sub_(picture)
        picture.add_(mean, alpha=0.2)
        picture.clamp_(0, 1)
    return picture

# %% right="fix_smooth" name="two buffers that change places"
def smooth(picture, blur, steps):
    now, then = picture.clone(), torch.empty_like(picture)
    for _ in steps:
        torch.matmul(blur, now, out=then)
        torch.lerp(now, then, 0.2, out=then)
        torch.clamp(then, 0, 1, out=then)
        now, then = then, now
    return now

# %% right="fix_smooth" name="one fused product into the buffer"
def smooth(picture, blur, steps):
    now, then = picture.clone(), torch.empty_like(picture)
    for _ in steps:
        torch.addmm(now, blur, now, beta=0.8, alpha=0.2, out=then)
        then.clamp_(min=0, max=1)
        now, then = then, now
    return now

# %% wrong="fix_smooth" name="unchanged" expects="too many allocations"
def smooth(picture, blur, steps):
    for _ in steps:
        mean = blur @ picture
        change = mean - picture
        picture = picture + 0.2 * change
        picture = picture.clamp(0, 1)
    return picture

# %% wrong="fix_smooth" name="deletes the names: a lower peak, as many allocations" expects="too many allocations"
def smooth(picture, blur, steps):
    for _ in steps:
        mean = blur @ picture
        change = mean - picture
        del mean
        change = 0.2 * change
        picture = picture + change
        del change
        picture = picture.clamp(0, 1)
    return picture

# %% wrong="fix_smooth" name="a new product at each step" expects="2 of 3 points"
def smooth(picture, blur, steps):
    picture = picture.clone()
    for _ in steps:
        mean = blur @ picture
        picture.lerp_(mean, 0.2).clamp_(0, 1)
    return picture

# %% wrong="fix_smooth" name="overwrites the picture it was given" expects="the given picture"
def smooth(picture, blur, steps):
    mean = torch.empty_like(picture)
    for _ in steps:
        torch.mm(blur, picture, out=mean)
        picture.lerp_(mean, 0.2).clamp_(0, 1)
    return picture

# %% wrong="fix_smooth" name="computes on the host, out of sight" expects="wrong device"
def smooth(picture, blur, steps):
    picture, blur = picture.cpu(), blur.cpu()
    for _ in steps:
        picture = picture.lerp(blur @ picture, 0.2).clamp(0, 1)
    return picture

# %% wrong="fix_smooth" name="computes on the host and copies back" expects="too many copies"
def smooth(picture, blur, steps):
    picture, blur = picture.cpu(), blur.cpu()
    for _ in steps:
        picture = picture.lerp(blur @ picture, 0.2).clamp(0, 1)
    return picture.to(device)

# %% wrong="fix_smooth" name="goes through the steps first, works afterwards" expects="too many allocations"
def smooth(picture, blur, steps):
    for _ in list(steps):
        picture = picture.lerp(blur @ picture, 0.2).clamp(0, 1)
    return picture

# %% wrong="fix_smooth" name="keeps a buffer for every intermediate, and more" expects="peak too high"
def smooth(picture, blur, steps):
    picture = picture.clone()
    mean, change, part = (torch.empty_like(picture) for _ in range(3))
    for _ in steps:
        torch.mm(blur, picture, out=mean)
        torch.sub(mean, picture, out=change)
        torch.mul(change, 0.2, out=part)
        picture.add_(part).clamp_(0, 1)
    return picture

# %% wrong="fix_smooth" name="forgets the clamp and the blur" expects="wrong results"
def smooth(picture, blur, steps):
    picture = picture.clone()
    for _ in steps:
        picture.mul_(0.99)
    return picture

# %% wrong="fix_smooth" name="never steps" expects="wrong results"
def smooth(picture, blur, steps):
    return picture.clone()

# %% wrong="fix_smooth" name="resets the counter" expects="tampered"
def smooth(picture, blur, steps):
    for _ in steps:
        picture = picture.lerp(blur @ picture, 0.2).clamp(0, 1)
    return picture


ag.check.allocations = lambda *arguments, **options: 1

# %% wrong="fix_smooth" name="collects garbage and empties the cache at every step" expects="too many allocations"
import gc


def smooth(picture, blur, steps):
    def tidied():
        for step in steps:
            gc.collect()
            gpu.empty_cache()
            yield step
    return greedy_smooth(picture, blur, tidied())

# %% right="repair_training" name="a list of the parts, filled in when asked for"
def repaired(steps, size, seed):
    class Repaired(Training):
        waves = None

        def positions(self):
            if self.waves is None:
                self.waves = super().positions()
            return self.waves

        def keep(self, predicted):
            if not len(self.outputs):
                self.outputs = predicted.new_empty(self.steps, *predicted.shape)
            self.outputs[len(self.losses)].copy_(predicted)

        def average(self):
            torch._foreach_lerp_(self.averages, [w.detach() for w in self.model.parameters()], 0.01)

        def report(self):
            return {**super().report(), "outputs": self.outputs.flatten(0, 1)}

    return Repaired(steps, size, seed)

# %% right="repair_training" name="multiply and add in place"
def repaired(steps, size, seed):
    class Repaired(Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.waves = Training.positions(self)
            self.outputs = torch.empty(self.steps * self.size, 16, 16, device=device)
            self.kept = 0

        def positions(self):
            return self.waves

        def keep(self, predicted):
            self.outputs[self.kept : self.kept + len(predicted)] = predicted
            self.kept += len(predicted)

        @torch.no_grad()
        def average(self):
            for a, w in zip(self.averages, self.model.parameters()):
                a.mul_(0.99).add_(w, alpha=0.01)

    return Repaired(steps, size, seed)

# %% right="repair_training" name="outputs kept on the host"
def repaired(steps, size, seed):
    training = Training(steps, size, seed)
    waves, outputs = training.positions(), torch.empty(steps, size, 16, 16)

    def average():
        for a, w in zip(training.averages, training.model.parameters()):
            a.lerp_(w.detach(), 0.01)

    training.positions = lambda: waves
    training.keep = lambda predicted: outputs[len(training.losses)].copy_(predicted)
    training.average = average
    training.outputs = outputs.flatten(0, 1)
    return training

# %% wrong="repair_training" name="unchanged" expects="too many allocations"
def repaired(steps, size, seed):
    return Training(steps, size, seed)

# %% wrong="repair_training" name="only the averages" expects="1 of 4 points"
def repaired(steps, size, seed):
    class Repaired(Training):
        def average(self):
            for a, w in zip(self.averages, self.model.parameters()):
                a.lerp_(w.detach(), 0.01)

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="only the outputs" expects="2 of 4 points"
def repaired(steps, size, seed):
    class Repaired(Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.outputs = torch.empty(self.steps * self.size, 16, 16, device=device)

        def keep(self, predicted):
            start = len(self.losses) * self.size
            self.outputs[start : start + self.size] = predicted

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="everything but the outputs" expects="2 of 4 points"
def repaired(steps, size, seed):
    class Repaired(Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.waves = super().positions()

        def positions(self):
            return self.waves

        def average(self):
            for a, w in zip(self.averages, self.model.parameters()):
                a.lerp_(w.detach(), 0.01)

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="a list, and one cat at the end" expects="3 of 4 points"
def repaired(steps, size, seed):
    class Repaired(Training):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.waves = super().positions()
            self.outputs = []

        def positions(self):
            return self.waves

        def keep(self, predicted):
            self.outputs.append(predicted)

        def average(self):
            for a, w in zip(self.averages, self.model.parameters()):
                a.lerp_(w.detach(), 0.01)

        def report(self):
            return {**super().report(), "outputs": torch.cat(self.outputs)}

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="an average that is the weights" expects="wrong results"
def repaired(steps, size, seed):
    class Repaired(Training):
        def average(self):
            self.averages = [w.detach() for w in self.model.parameters()]

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="keeps no outputs" expects="wrong results"
def repaired(steps, size, seed):
    class Repaired(Training):
        def keep(self, predicted):
            pass

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="no positions" expects="wrong results"
def repaired(steps, size, seed):
    class Repaired(Training):
        def positions(self):
            return self.time[:, None]

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="leaves the loop to after the loop" expects="too many allocations"
def repaired(steps, size, seed):
    class Repaired(Training):
        def run(self, batches):
            return super().run(list(batches))

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="changes the given class" expects="tampered"
def repaired(steps, size, seed):
    waves = Training(steps, size, seed).positions()
    Training.positions = lambda self: waves
    return Training(steps, size, seed)

# %% wrong="repair_training" name="collects garbage and empties the cache at every step" expects="too many allocations"
import gc


def repaired(steps, size, seed):
    class Repaired(Training):
        def update(self, loss):
            super().update(loss)
            gc.collect()
            gpu.empty_cache()

    return Repaired(steps, size, seed)

# %% wrong="repair_training" name="trains on nothing" expects="wrong results"
def repaired(steps, size, seed):
    class Repaired(Training):
        def run(self, batches):
            return self.report()

    return Repaired(steps, size, seed)
