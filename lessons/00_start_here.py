# ---
# title: Start here
# minutes: 25
# ---

# %% [markdown]
# # 00 · What is the GPU holding?
#
# {{badges}}
#
# **Symptom:** `nvidia-smi` says 14 GB, your tensors add up to 2 GB. Who has the rest, and why does it grow?
#
# After this lesson you can
# - tell allocated, reserved and peak apart,
# - record a loop and read its slope,
# - walk six steps from "memory grows" to the line that does it.
#
# About 25 minutes. No GPU? The next cell says what you have; every lesson runs on both.

# %% given="setup" setup=true
import autograder as ag
device = ag.setup("00_start_here")

# %% [markdown]
# ## How memory is counted
#
# PyTorch does not ask the GPU for every tensor. It asks for large **segments**, cuts them into **blocks**, and hands those out.
# Three numbers describe it: **allocated** (blocks in use), **reserved** (segments held), **peak** (the most that was ever allocated).

# %%
import torch

gpu = ag.device_module()


def show(moment):
    numbers = gpu.memory_allocated(), gpu.memory_reserved(), gpu.max_memory_allocated()
    print(f"{moment:24}" + "".join(f"{ag.human(n):>12}" for n in numbers))


print(f"{'':24}{'allocated':>12}{'reserved':>12}{'peak':>12}")
show("at the start")
small = torch.ones(1, device=device)
show("one number (4 bytes)")
large = torch.ones(3 * 2**18, device=device)
show("plus 3 MiB")
map_of_blocks = ag.block_map()
del small, large
show("both deleted")
gpu.empty_cache()
show("after empty_cache()")

# %% [markdown]
# Four bytes cost 512: the smallest block. To get it, PyTorch reserved a whole 2 MiB segment; for 3 MiB, one of 20 MiB.
# Deleting gives blocks back to PyTorch's cache, not to the GPU, so `nvidia-smi` still shows them: there is your missing memory.
# `empty_cache()` returns unused segments. It cannot free one byte that something still holds.
#
# The moment before the deletion as a picture (the 512-byte block is too thin to see):

# %%
map_of_blocks

# %% [markdown]
# ## A healthy loop
#
# `ag.record` runs a step again and again, 3 times to warm up and 20 times for the figures, and notes memory after each.

# %% given="world"
import torch
from torch import nn
import torch.nn.functional as F


class Run:
    """A small training run, cut into the four parts of every training step."""

    def __init__(self, log, size=256, seed=0):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.random = torch.Generator().manual_seed(seed)
        self.log, self.size, self.history = log, size, []

    def step(self, number, parts=("forward", "backward", "optimizer", "log")):
        x = torch.randn(self.size, 64, generator=self.random).to(device)
        y = torch.randint(10, (self.size,), generator=self.random).to(device)
        self.optimizer.zero_grad()
        logits = self.model(x)
        loss = F.cross_entropy(logits, y)
        if "backward" in parts:
            loss.backward()
        if "optimizer" in parts:
            self.optimizer.step()
        if "log" in parts:
            self.log(self.history, number, loss, logits)

# %%
healthy = Run(log=lambda *record: None)
trace = ag.record(healthy.step)
print("before step 0 ", ag.human(trace.baseline))
print("after step 0  ", ag.human(trace.allocated[0]))
print("at the end    ", ag.human(trace.final))
ag.plot(trace, prediction=False)

# %% [markdown]
# Gradients and Adam's state are born in step 0: that jump is **warm-up**, not a leak, and no figure counts the shaded steps.
# After them a correct loop is flat: not "almost", but 0 bytes per step.
#
# ## A small leak
#
# Now somebody logs how confident the model is. The loss is stored as a number, as it should be. Predict:

# %% given="leak"
def leaky_log(history, number, loss, logits):
    """Keep a record per step: number, loss, mean probability of the winning class."""
    confidence = logits.softmax(1).amax(1).mean()
    history.append({"step": number, "loss": loss.item(), "confidence": confidence})


def measure(log, steps=20, size=256, seed=0):
    """Record a run. Returns its trace and its history."""
    run = Run(log, size, seed)
    return ag.record(run.step, steps=steps), run.history

# %%
ag.predict(
    "backward() runs at every step, so allocated memory will",
    ["stay flat", "grow a little per step", "double"],
)

# %%
before, history = measure(leaky_log)
ag.plot(before)

# %% [markdown]
# ## Six steps
#
# Growth this small hides for hours: 11.5 KiB per step is 1.1 GiB after 100,000 steps. Walk the list:
#
# 1. **When** does it grow: after forward, backward, optimizer, or the rest?
# 2. Are **gradients** cleared?
# 3. Is what you **store** detached?
# 4. Is a **hidden state** carried over?
# 5. Does **evaluation** run under `no_grad`?
# 6. Which **references** keep it alive?
#
# Step 1: build the training step up, part by part, until the growth appears.

# %%
parts = []
for part in ("forward", "backward", "optimizer", "log"):
    parts.append(part)
    run = Run(leaky_log)
    trace = ag.record(lambda i: run.step(i, tuple(parts)), steps=8)
    print(f"up to {part:10} {ag.human(trace.slope):>10} per step")

# %% [markdown]
# Steps 2 to 5 are questions that a line of code answers:

# %%
run = Run(leaky_log)
trace = ag.record(run.step, steps=8)


def gradient_norm():
    return torch.stack([p.grad.norm() for p in run.model.parameters()]).norm().item()


early = gradient_norm()
for number in range(11, 61):
    run.step(number)
stored = run.history[-1]
graphs = [name for name, value in stored.items() if torch.is_tensor(value) and value.requires_grad]
carried = [name for name, value in vars(run).items() if torch.is_tensor(value)]
print(f"2 gradient norm, 50 steps apart: {early:.2f}, {gradient_norm():.2f}: no pile")
print("3 stored tensors with a graph:  ", graphs)
print("4 tensors carried over:         ", carried)
print("5 in evaluation mode:           ", not run.model.training)

# %% [markdown]
# Step 3 has a hit: something stored still has its graph. Step 6 says who holds it, and where it was made:

# %%
ag.diagnose(trace)

# %% [markdown]
# ## Why
#
# **Folklore:** "`backward()` frees the graph, so nothing can stay." It frees the part it *walked through*: from the loss to the weights.
# `softmax`, `amax` and `mean` hang off `logits` as a side branch that no `backward()` ever visits. Its saved tensors live as long as
# the number you logged.

# %% [markdown]
# ## Exercise: `fix_log`
#
# Write the record. Two lines, five minutes.
#
# - The same three entries with the same values, as plain Python numbers.
# - Memory flat: less than 1 % of the leak (a detached tensor on the GPU still costs 512 B per step, which is too much here).

# %% exercise="fix_log"
def log_step(history, number, loss, logits):
    """Append {"step", "loss", "confidence"} to history, as plain numbers."""
    ### BEGIN SOLUTION
    confidence = logits.detach().softmax(1).amax(1).mean()
    history.append({"step": number, "loss": loss.item(), "confidence": confidence.item()})
    ### END SOLUTION

# %%
after, history = measure(log_step)
ag.plot(before=before, after=after)

# %% check="fix_log" points=3
def verdict(steps, size, seed):
    leak, expected = measure(leaky_log, steps, size, seed)
    trace, history = measure(log_step, steps, size, seed)
    ag.check.same(history, expected, what="the history", exercise="fix_log")
    ag.check.flat(trace, per_step=leak.slope / 100, steps=steps + 3, exercise="fix_log")
    ag.check.no_graph(history, exercise="fix_log")


verdict(steps=20, size=256, seed=0)
### BEGIN HIDDEN TESTS
verdict(steps=11, size=512, seed=4)
verdict(steps=33, size=128, seed=8)
### END HIDDEN TESTS
3  # points

# %% hint="fix_log"
# Step 3 of the six told you which entry of the record still requires grad.
#
# `confidence` is made of operations that autograd records. Either do not record them, or let go of the recording
# before you store the result. And a tensor on the GPU is not a number yet.
#
# `logits.detach()` starts a computation without a graph; `.item()` at the end makes a Python number out of the result.

# %% [markdown]
# ## Turn the knobs
#
# Does a smaller batch cure the leak, or only slow it down? Does the leak care how many steps you run?

# %%
def rerun(leak=True, steps=20, size=256):
    trace, _ = measure(leaky_log if leak else log_step, steps, size)
    return trace


ag.explore(rerun, leak=True, steps=(5, 60), size=(64, 512, 64))

# %% [markdown]
# Half the batch, about half the slope: the run lives twice as long and dies all the same. And the line never bends: step 60
# leaves as much behind as step 6.

# %% reflect="where_else"
# ## Reflect
#
# What do you log today that is computed from a model's output? Which of the six steps would have found it?

# %% [markdown]
# ## Take away
#
# 1. Allocated is what you hold; reserved is what PyTorch holds for you; peak is what decides whether you run out.
# 2. A correct loop has slope 0. Any other number is a bug with an address.
# 3. Six steps, in order. No guessing.
#
# Next: **01 · Validation eats the GPU**.

# %% right="fix_log" name="no_grad"
def log_step(history, number, loss, logits):
    with torch.no_grad():
        confidence = float(logits.softmax(1).amax(1).mean())
    history.append({"step": number, "loss": float(loss), "confidence": confidence})

# %% right="fix_log" name="item at the end only"
def log_step(history, number, loss, logits):
    confidence = logits.softmax(1).amax(1).mean().item()
    history.append(dict(step=number, loss=loss.item(), confidence=confidence))

# %% right="fix_log" name="computed on the CPU"
def log_step(history, number, loss, logits):
    confidence = logits.detach().cpu().softmax(dim=1).max(dim=1).values.mean()
    history.append({"step": number, "loss": loss.detach().cpu().item(), "confidence": confidence.item()})

# %% wrong="fix_log" name="unchanged" expects="not flat"
def log_step(history, number, loss, logits):
    history.append({"step": number, "loss": loss.item(), "confidence": logits.softmax(1).amax(1).mean()})

# %% wrong="fix_log" name="a detached tensor stays on the GPU" expects="not flat"
def log_step(history, number, loss, logits):
    history.append({"step": number, "loss": loss.item(), "confidence": logits.softmax(1).amax(1).mean().detach()})

# %% wrong="fix_log" name="keeps the logits, detached" expects="wrong results"
def log_step(history, number, loss, logits):
    history.append({"step": number, "loss": loss.item(), "confidence": logits.detach()})

# %% wrong="fix_log" name="logs a constant" expects="wrong results"
def log_step(history, number, loss, logits):
    history.append({"step": number, "loss": loss.item(), "confidence": 0.5})

# %% wrong="fix_log" name="logs nothing" expects="wrong results"
def log_step(history, number, loss, logits):
    pass

# %% wrong="fix_log" name="keeps only the last record" expects="wrong results"
def log_step(history, number, loss, logits):
    confidence = logits.detach().softmax(1).amax(1).mean().item()
    history[:] = [{"step": number, "loss": loss.item(), "confidence": confidence}]

# %% wrong="fix_log" name="right numbers, and a hidden pile of tensors" expects="not flat"
pile = []

def log_step(history, number, loss, logits):
    confidence = logits.softmax(1).amax(1).mean()
    pile.append(confidence)
    history.append({"step": number, "loss": loss.item(), "confidence": confidence.item()})

# %% wrong="fix_log" name="collects garbage every step" expects="not flat"
import gc

def log_step(history, number, loss, logits):
    history.append({"step": number, "loss": loss.item(), "confidence": logits.softmax(1).amax(1).mean()})
    gc.collect()
    torch.get_device_module(device).empty_cache()

# %% wrong="fix_log" name="patches the recorder's counter" expects="tampered"
def log_step(history, number, loss, logits):
    history.append({"step": number, "loss": loss.item(), "confidence": logits.softmax(1).amax(1).mean()})

ag.Trace.slope = 0.0
