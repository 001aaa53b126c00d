# ---
# title: A small leak
# minutes: 5
# ---

# %% [markdown]
# # A small leak
# {{badges}}

# %% setup=true
import autograder as ag
import torch

device = ag.setup("00_start_here")


# %% given="world"
class Scale(torch.nn.Module):
    """Multiplies by a weight."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.w * x


model = Scale().to(device)


def total(batch):
    """Sum of the model's output."""
    return model(batch).sum()


def make_batches(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randn(1024, generator=random).to(device)


# %%
print("a demonstration")


# %% exercise="totals"
def totals(batches):
    """Return one number per batch."""
    ### BEGIN SOLUTION
    return [total(b).item() for b in batches]
    ### END SOLUTION


# %% check="totals" points=2
with ag.record(warmup=2) as trace:
    found = totals(trace.steps(make_batches(8)))
ag.check.same(found, [2 * float(b.sum()) for b in make_batches(8)], rtol=1e-3)
ag.check.no_graph(found)
### BEGIN HIDDEN TESTS
SECRET_BATCHES = 5
ag.check.same(len(totals(make_batches(SECRET_BATCHES, seed=3))), SECRET_BATCHES)
### END HIDDEN TESTS
2

# %% hint="totals"
# One.
#
# Two.
#
# Three.

# %% reflect="own_code" points=0
# Where else?


# %% right="totals" name="float"
def totals(batches):
    return [float(total(b)) for b in batches]


# %% right="totals" name="detach"
def totals(batches):
    return [total(b).detach().item() for b in batches]


# %% right="totals" name="no grad"
@torch.no_grad()
def totals(batches):
    return [total(b).item() for b in batches]


# %% wrong="totals" name="keeps graphs" expects="keeps a graph"
def totals(batches):
    return [total(b) for b in batches]


# %% wrong="totals" name="constant" expects="wrong results"
def totals(batches):
    return [0.0 for b in batches]


# %% wrong="totals" name="nothing" expects="wrong results"
def totals(batches):
    return []


# %% wrong="totals" name="crash" expects="ZeroDivisionError"
def totals(batches):
    1 / 0
