# ---
# title: A tiny lesson
# minutes: 5
# ---

# %% [markdown]
# # A running total
# {{badges}}
#
# Keep the numbers, drop the graph.

# %% setup=true
import torch
import autograder as ag

# %% given="batches"
def make_batches(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, generator=generator) for _ in range(n)]


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.w * x

# %%
def leaky(model, batches):
    return [model(b).sum() for b in batches]


print(len(leaky(Scale(), make_batches(3))))

# %% exercise="totals"
def totals(model, batches):
    """Return the sum of the model's output for each batch, as a list of numbers."""
    ### BEGIN SOLUTION
    return [model(b).sum().item() for b in batches]
    ### END SOLUTION

# %% check="totals" points=2
found = totals(Scale(), make_batches(3))
assert [round(float(v), 4) for v in found] == [round(float(2 * b.sum()), 4) for b in make_batches(3)], "wrong results"
### BEGIN HIDDEN TESTS
assert len(totals(Scale(), make_batches(7, seed=5))) == 7, "wrong results: seven batches"
assert not any(torch.is_tensor(v) and v.grad_fn is not None for v in found), "keeps a graph"
### END HIDDEN TESTS

# %% hint="totals"
# Look at what each element of the list drags along.
#
# A number needs no graph.
#
# Call `.item()`.

# %% right="totals" name="comprehension with float"
def totals(model, batches):
    return [float(model(b).sum()) for b in batches]

# %% right="totals" name="no_grad"
def totals(model, batches):
    with torch.no_grad():
        return [model(b).sum() for b in batches]

# %% right="totals" name="uses the demo and a magic"
%matplotlib inline
def totals(model, batches):
    return [x.detach() for x in leaky(model, batches)]

# %% wrong="totals" name="keeps tensors" expects="keeps a graph"
def totals(model, batches):
    return [model(b).sum() for b in batches]

# %% wrong="totals" name="constant" expects="wrong results"
def totals(model, batches):
    return [0.0] * len(batches)

# %% wrong="totals" name="drops the rest" expects="seven batches"
def totals(model, batches):
    return [model(b).sum().item() for b in batches[:3]]

# %% wrong="totals" name="crashes" expects="ZeroDivisionError"
def totals(model, batches):
    return 1 / 0

# %% [markdown] reflect="own_code" points=0
# Where does your own code keep a loss?
