"""Is the learner's line found, also from autograd's thread and in a notebook cell?"""

import linecache

import pytest
import torch
from torch import nn

from autograder.trace import sites
from autograder.trace.sites import cell_number, is_learners_file


def lines_of(trace):
    return {survivor.site.source for survivor in trace.survivors()}


def run_cell(source, filename, **names):
    """Run source the way a notebook does: compiled under a name of its own, its text in linecache."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), names)  # noqa: S102 - as a notebook would
    return names


def test_the_line_that_allocated_is_found(record, device):
    kept = []

    def step():
        kept.append(torch.zeros(10, device=device))  # here

    assert lines_of(record(step)) == {"kept.append(torch.zeros(10, device=device))  # here"}


def test_code_of_torch_is_not_the_learners(record, device):
    """GIVEN a module of torch WHEN its forward allocates THEN the learner's call is the site."""
    layer = nn.Linear(8, 8).to(device)
    x = torch.zeros(4, 8, device=device)
    kept = []

    def step():
        kept.append(layer(x))

    assert lines_of(record(step)) == {"kept.append(layer(x))"}


def test_what_backward_allocates_belongs_to_the_backward_line(record, device):
    """Autograd may work on a thread of its own, where no frame is the learner's."""
    weight = nn.Parameter(torch.ones(1000, device=device))
    gradients = []

    def step():
        weight.grad = None
        loss = (weight * 2).sum()
        loss.backward()
        gradients.append(weight.grad)

    assert lines_of(record(step)) == {"loss.backward()"}


def test_a_site_reads_as_cell_and_line(record, device, monkeypatch):
    monkeypatch.setattr(sites, "_shell", lambda: Shell({"/tmp/ipykernel_7/1.py": 4}))
    names = run_cell("def step():\n    kept.append(zeros())\n", "/tmp/ipykernel_7/1.py", kept=[], zeros=None)
    names["zeros"] = eval("lambda: torch.zeros(4, device=device)", {"torch": torch, "device": device})
    names["zeros"] = _installed(names["zeros"])
    trace = record(names["step"], steps=1, warmup=0)
    assert str(trace.survivors()[0].site) == "cell [4], line 2: `kept.append(zeros())`"


def _installed(function):
    """The same function, as if it came with an installed library."""
    return type(function)(function.__code__.replace(co_filename="/x/site-packages/lib.py"), function.__globals__)


class Shell:
    """As much of IPython as the search for a cell's number touches."""

    def __init__(self, numbers=None, history=()):
        self.compile = self
        if numbers is not None:
            self._filename_map = numbers
        self.history_manager = self
        self.input_hist_raw = self.input_hist_parsed = ["", *history]

    def get_code_name(self, raw, parsed, number):
        return f"/tmp/ipykernel_7/{raw}.py"


def test_ipython_7_names_cells_by_number():
    assert cell_number("<ipython-input-12-abcdef123456>") == 12


def test_ipykernel_on_ipython_7_names_cells_by_their_text(monkeypatch):
    """GIVEN no map from names to numbers WHEN a text was run twice THEN the latest run counts."""
    monkeypatch.setattr(sites, "_shell", lambda: Shell(history=["a", "b", "a"]))
    assert cell_number("/tmp/ipykernel_7/a.py") == 3
    assert cell_number("/tmp/ipykernel_7/b.py") == 2
    assert cell_number("/tmp/ipykernel_7/c.py") is None


def test_a_plain_file_has_no_cell_number():
    assert cell_number(__file__) is None


def test_a_real_ipython_shell_knows_its_cells():
    """Does the map that IPython keeps still have the name we read?"""
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell.instance()
    try:
        shell.run_cell("def f(): pass", store_history=True)
        filename = shell.user_ns["f"].__code__.co_filename
        assert cell_number(filename) == 1
    finally:
        interactive.InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    "filename, expected",
    [
        (__file__, True),
        ("<ipython-input-1-abc>", True),
        ("<stdin>", True),
        ("<fix_total>", True),
        (torch.__file__, False),
        (sites.__file__, False),
        (linecache.__file__, False),
        (pytest.__file__, False),
        ("<frozen importlib._bootstrap>", False),
    ],
)
def test_whose_file_is_it(filename, expected):
    assert is_learners_file(filename) is expected
