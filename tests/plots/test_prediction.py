"""Is a prediction remembered, drawn, and judged fairly?"""

import numpy as np
import pytest

from autograder.errors import AutograderError
from autograder.plots import last_prediction, plot, predict, prediction
from autograder.plots.shapes import is_right, measured_shape, predicted_values, shape_of
from tests.plots.traces import make_trace

MIB = 1 << 20
CHOICES = ["stay flat", "grow by a few bytes", "grow by megabytes"]


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ("stay flat", "flat"), ("does not grow", "flat"), ("stays the same", "flat"),
        ("grow by a constant amount per chunk", "grows"), ("rises", "grows"), ("leaks", "grows"),
        ("grow faster and faster", "accelerates"), ("falls back", "falls"), ("double", None),
    ],
)  # fmt: skip
def test_words_have_a_shape(words, shape):
    assert shape_of(words) == shape


def test_a_trace_has_a_shape(leak, flat):
    """Is a straight line told from a bent one, and noise-free flat from falling?"""
    bent = make_trace([MIB * i * i for i in range(12)])
    falling = make_trace([MIB * (20 - i) for i in range(12)])
    assert [measured_shape(t) for t in (leak, flat, bent, falling)] == ["grows", "flat", "accelerates", "falls"]


@pytest.mark.parametrize(
    ("choice", "right"), [("stay flat", False), ("grow by a few bytes", False), (CHOICES[2], True)]
)
def test_the_answer_is_judged_by_shape_and_amount(choice, right, leak):
    """GIVEN ten megabytes of growth THEN "a few bytes" is as wrong as "flat"."""
    predict("q", CHOICES, answer=choice)
    assert is_right(last_prediction(), leak) is right


def test_what_the_choices_do_not_settle_is_not_judged(leak):
    """GIVEN two choices that both fit THEN neither right nor wrong is claimed."""
    predict("q", ["grows a little", "grows a lot"], answer="grows a little")
    assert is_right(last_prediction(), leak) is None
    predict("q", ["as the tutorial says", "who knows"], answer="who knows")
    assert is_right(last_prediction(), leak) is None


def test_plot_draws_the_last_prediction_and_says_whether_it_is_right(leak):
    """Is the predicted line dashed over the steady steps, with the verdict above?"""
    predict("q", CHOICES, answer="stay flat")
    axes = plot(leak).axes[0]
    line = next(line for line in axes.get_lines() if line.get_label() == "you predicted")
    np.testing.assert_allclose(line.get_ydata() * MIB, [leak.allocated[2]] * 11)
    assert list(line.get_xdata()) == list(range(2, 13))
    assert axes.get_title(loc="left") == 'You predicted "stay flat": not so.'
    predict("q", CHOICES, answer="grow by meg")
    assert plot(leak).axes[0].get_title(loc="left") == 'You predicted "grow by megabytes": right.'


def test_a_prediction_can_be_left_out_or_given(leak):
    predict("q", CHOICES, answer="stay flat")
    assert plot(leak, prediction=False).axes[0].get_title(loc="left") == ""
    assert "grows" in plot(leak, prediction="grows").axes[0].get_title(loc="left")


def test_words_without_a_shape_are_shown_as_words(leak):
    predict("q", ["double", "stay flat"], answer="double")
    axes = plot(leak).axes[0]
    assert "you predicted" not in {line.get_label() for line in axes.get_lines()}
    assert "double" in axes.get_title(loc="left")


@pytest.mark.parametrize(("words", "ends"), [("grows", 16 * MIB), ("faster and faster", 16 * MIB), ("falls", 3 * MIB)])
def test_predicted_curves_begin_where_warm_up_ends(words, ends, leak):
    values = predicted_values(prediction.Prediction("q", words, (words,)), leak)
    assert (values[0], round(values[-1])) == (leak.allocated[2], ends)


def test_predictions_are_kept_by_key(capsys):
    predict("one", CHOICES, answer="stay flat")
    predict("two", CHOICES, answer="grow by megabytes", key="second")
    assert last_prediction().question == "two"
    assert last_prediction("one").choice == "stay flat"
    assert last_prediction("second").choice == "grow by megabytes"
    assert "You predict: stay flat" in capsys.readouterr().out


def test_an_answer_must_be_one_of_the_choices():
    """GIVEN an answer that is none, or the beginning of two THEN the choices are listed."""
    for answer in ("shrink", "grow"):
        with pytest.raises(AutograderError, match="'stay flat', 'grow by a few bytes'"):
            predict("q", CHOICES, answer=answer)
    assert last_prediction() is None


def test_without_widgets_the_choices_are_printed(capsys):
    predict("Memory will", CHOICES)
    assert "'grow by megabytes'" in capsys.readouterr().out
    assert last_prediction() is None


@pytest.mark.parametrize(("choices", "control"), [(CHOICES, "ToggleButtons"), (["x" * 60, "grows"], "RadioButtons")])
def test_a_click_is_remembered(choices, control, monkeypatch):
    """GIVEN a notebook WHEN a button is chosen, and another THEN the last one counts."""
    shown = []
    monkeypatch.setattr(prediction, "can_show_widgets", lambda: True)
    monkeypatch.setattr(prediction, "show_widget", lambda widget, instead: shown.append((widget, instead)))
    predict("Memory will", choices)
    widget, instead = shown[0]
    buttons = next(child for child in widget.children if type(child).__name__ == control)
    assert buttons.value is None and last_prediction() is None
    assert all(choice in instead for choice in choices)
    buttons.value = choices[0]
    buttons.value = choices[1]
    assert last_prediction().choice == choices[1]
    predict("Memory will", choices)
    assert last_prediction() is None, "asking again forgets the earlier answer"
