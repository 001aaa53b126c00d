"""Do knobs run the function again, and does a failure stay in its place?"""

import IPython.display
import pytest

from autograder.errors import AutograderError
from autograder.plots import explore, explorer, predict
from autograder.plots.figure import MemoryFigure
from tests.plots.traces import make_trace


@pytest.fixture
def notebook(monkeypatch):
    """A notebook's ends of the wire: the widget, and what the output slot showed, first to last."""

    class Notebook:
        def __init__(self):
            self.widget, self.shown = None, []

        def control(self, name):
            return next(child for child in self.widget.children if getattr(child, "description", "") == name)

    page = Notebook()

    class Slot:
        def update(self, bundle, raw):
            assert raw
            page.shown.append(bundle)

    def display(bundle, raw, display_id):
        page.shown.append(bundle)
        return Slot()

    monkeypatch.setattr(explorer, "can_show_widgets", lambda: True)
    monkeypatch.setattr(explorer, "show_widget", lambda widget, instead: setattr(page, "widget", widget))
    monkeypatch.setattr(IPython.display, "display", display)
    return page


def run(leak=True, steps=10, how="sum"):
    return make_trace([(1 << 20) * (1 + leak * i) for i in range(steps)])


def test_without_widgets_it_runs_with_the_defaults():
    """Is the figure of the default run returned in plain Python?"""
    called = []

    def fn(**values):
        called.append(values)
        return run(**values)

    figure = explore(fn, leak=False, steps=(5, 40), how=["mean", "sum"])
    assert isinstance(figure, MemoryFigure)
    assert called == [{"leak": False, "steps": 5, "how": "mean"}]


def test_the_functions_own_defaults_are_where_the_knobs_start():
    called = []

    def fn(steps=20, size=999, how="sum"):
        called.append((steps, size, how))
        return run()

    explore(fn, steps=(5, 40), size=(32, 512), how=["mean", "sum"])
    assert called == [(20, 32, "sum")]


def test_a_pair_is_drawn_as_before_and_after():
    assert explore(lambda steps: (run(), run(leak=False)), steps=(5, 9)).get_suptitle().startswith("Before: grows")


def test_knobs_become_controls(notebook):
    """Is a pair a slider that answers on release, a bool a checkbox, a list a menu?"""
    assert explore(run, leak=True, steps=(5, 40, 5), how=["mean", "sum"]) is None
    slider = notebook.control("steps")
    assert (slider.min, slider.max, slider.step, slider.value, slider.continuous_update) == (5, 40, 5, 10, False)
    assert type(notebook.control("leak")).__name__ == "Checkbox"
    assert notebook.control("how").options == ("mean", "sum")
    assert len(notebook.shown) == 1 and "grows" in notebook.shown[0]["text/plain"]


def test_a_change_runs_and_draws_again(notebook):
    explore(run, leak=True, steps=(5, 40))
    notebook.control("leak").value = False
    notebook.control("steps").value = 30
    assert len(notebook.shown) == 3
    assert "stays flat" in notebook.shown[1]["text/plain"]
    assert "30 steps" in notebook.shown[2]["text/plain"]


def test_an_error_is_one_message_and_the_knobs_live_on(notebook):
    """GIVEN a value the function fails on THEN its error stands where the plot was, and the next value draws."""

    def fn(size=1):
        if size > 5:
            raise ValueError("<too large>")
        return run()

    explore(fn, size=(1, 9))
    notebook.control("size").value = 9
    assert notebook.shown[-1]["text/plain"] == "ValueError with size=9: <too large>"
    assert "&lt;too large&gt;" in notebook.shown[-1]["text/html"]
    notebook.control("size").value = 2
    assert "image/png" in notebook.shown[-1]


@pytest.mark.parametrize("spec", [3, (5,), (9, 1), ("a", "b"), [], None])
def test_a_knob_that_is_none_is_refused(spec):
    with pytest.raises(AutograderError, match="the knob steps="):
        explore(run, steps=spec)


def test_a_knob_the_function_does_not_have_is_refused():
    with pytest.raises(AutograderError, match=r"run\(batch\).*batch"):
        explore(run, batch=(1, 9))


def test_an_earlier_prediction_is_not_drawn_over_it():
    predict("q", ["stay flat", "grow"], answer="stay flat")
    assert explore(run, steps=(5, 40)).axes[0].get_title(loc="left") == ""


def answer():
    raise NotImplementedError()


def test_an_unsolved_exercise_is_a_kind_message():
    """GIVEN a knob that runs the empty stub THEN the explorer asks for the answer instead of showing an error."""
    assert explorer._outcome(lambda leak: answer(), {"leak": False})["text/plain"] == "NotImplementedError: write your answer in the cell of `answer` first"
