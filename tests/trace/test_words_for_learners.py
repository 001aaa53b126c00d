"""What does a learner read when the exercise is still empty, or when PyTorch's own advice would mislead?"""

import sys
import traceback
import types

import pytest
import torch

import autograder as ag
from autograder.trace import advice
from autograder.trace.unsolved import unsolved

NOTE = "Part of what is carried from step to step still has its history; do not follow the advice to retain the graph."
STUB = "def validate(items):\n    raise NotImplementedError\n"
STUB_WITH_TEXT = 'def validate(items):\n    raise NotImplementedError("fill in `validate`")\n'
GIVEN = """
import torch
import autograder as ag
def measure(function):
    with ag.record(warmup=0, device="simgpu") as trace:
        function(trace.steps(range(3)))
def carry(steps):
    weight, state = torch.ones(4, requires_grad=True), torch.zeros(4)
    for _ in steps:
        state = state + weight * weight
        state.sum().backward()
"""


@pytest.fixture
def notebook(capfd):
    """A function that runs cells in a real IPython shell and returns what the last one shows."""
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell.instance(colors="nocolor")
    shell.run_cell(GIVEN, store_history=True)

    def run(*cells):
        for cell in cells:
            capfd.readouterr()
            shell.run_cell(cell, store_history=True)
        return capfd.readouterr().out

    yield run
    interactive.InteractiveShell.clear_instance()


def recorded(step, device):
    """The error that leaves a recording."""
    with pytest.raises(Exception) as caught:
        ag.record(step, device=device)
    return caught.value


def test_an_empty_stub_shows_one_sentence_in_a_notebook(notebook):
    assert notebook(STUB, "measure(validate)") == (
        "NotImplementedError: write your answer in the cell of `validate` first\n"
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 knows the method's name only")
@pytest.mark.parametrize(
    "stub",
    [
        "class Meter:\n    def add(self, value):\n        raise NotImplementedError()\n\nvalidate = Meter().add\n",
        "def Meter():\n    class Better:\n        raise NotImplementedError()\n\nvalidate = lambda x: Meter()\n",
    ],
)
def test_the_sentence_names_what_the_cell_defines(stub, notebook):
    """GIVEN a stub that is a method, or a class in a function THEN the class or the function is named."""
    assert notebook(stub, "measure(validate)") == (
        "NotImplementedError: write your answer in the cell of `Meter` first\n"
    )


def test_a_stubs_own_text_is_the_sentence(notebook):
    assert notebook(STUB_WITH_TEXT, "measure(validate)") == "NotImplementedError: fill in `validate`\n"


def test_other_errors_keep_the_learners_traceback(notebook):
    shown = notebook("def validate(items):\n    return {}['absent']\n", "measure(validate)")
    assert "measure(validate)" in shown
    assert "{}['absent']" in shown
    assert "KeyError" in shown


def test_plain_python_shows_the_whole_traceback(device):
    def validate():
        raise NotImplementedError

    error = recorded(validate, device)
    text = "".join(traceback.format_exception(error))
    assert "in validate" in text
    assert text.endswith("    raise NotImplementedError\nNotImplementedError\n")


def test_a_stub_inside_a_lambda_has_no_name():
    def body():
        raise NotImplementedError

    names = {name: "<lambda>" for name in ("co_name", "co_qualname") if hasattr(body.__code__, name)}
    anonymous = types.FunctionType(body.__code__.replace(**names), globals())
    with pytest.raises(NotImplementedError) as caught:
        anonymous()
    assert unsolved(caught.value) == "NotImplementedError: write your answer in this cell first"


def test_what_is_no_stub_is_not_shortened(device):
    """GIVEN an operator that PyTorch lacks, or a module without forward THEN the traceback is needed."""

    for step in (lambda: torch.nn.Module()(1), lambda: torch.zeros(2, device="meta").cpu()):
        error = recorded(step, device)
        assert isinstance(error, NotImplementedError)
        assert unsolved(error) is None
        assert not hasattr(error, "_render_traceback_")
    assert unsolved(ValueError()) is unsolved(None) is unsolved(NotImplementedError()) is None


def second_backward(device):
    weight = torch.ones(4, device=device, requires_grad=True)
    state = [torch.zeros(4, device=device)]

    def step():
        state[0] = state[0] + weight * weight
        state[0].sum().backward()

    return step


def test_a_second_backward_gets_a_word_of_ours(device, monkeypatch):
    monkeypatch.setattr(advice, "_notes_are_shown", lambda: True)
    error = recorded(second_backward(device), device)
    assert error.__notes__ == [NOTE]
    lines = "".join(traceback.format_exception(error))
    assert "state[0].sum().backward()" in lines
    assert lines.endswith(NOTE + "\n")


def test_where_notes_are_not_shown_the_message_has_it(device, monkeypatch):
    monkeypatch.setattr(advice, "_notes_are_shown", lambda: False)
    error = recorded(second_backward(device), device)
    assert str(error).startswith("Trying to backward through the graph a second time")
    assert str(error).endswith("\n" + NOTE)
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("version, shown", [((7, 34, 0, ""), False), ((8, 13, 9, ""), False), ((9, 0, 0, ""), True)])
def test_an_ipython_that_shows_no_notes_is_known(monkeypatch, version, shown):
    monkeypatch.setitem(advice.sys.modules, "IPython", types.SimpleNamespace(version_info=version))
    assert advice._notes_are_shown() is (shown and hasattr(BaseException, "add_note"))


def test_a_notebook_shows_the_word_below_the_learners_lines(notebook):
    shown = notebook("measure(carry)")
    assert "state.sum().backward()" in shown
    assert "Trying to backward through the graph a second time" in shown
    assert shown.rstrip().endswith(NOTE)


def test_other_runtime_errors_get_none(device):
    def step():
        raise RuntimeError("something else")

    error = recorded(step, device)
    assert str(error) == "something else"
    assert not hasattr(error, "__notes__")
