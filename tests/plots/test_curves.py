"""Are the numbers of several runs drawn as they are, and told in words?"""

import pytest

from autograder.errors import RecordError
from autograder.plots import plot
from autograder.plots.prediction import Prediction

FROZEN, THAWED = [2.3043] * 4, [2.3, 2.2, 2.1, 2.0]


def test_each_run_is_a_line_of_its_own():
    """GIVEN losses of two runs THEN both are drawn at their steps, in styles that do not differ by colour alone."""
    figure = plot(curves={"frozen": FROZEN, "thawed": THAWED})
    first, second = figure.axes[0].get_lines()
    assert list(first.get_ydata()) == FROZEN and list(second.get_ydata()) == THAWED
    assert list(first.get_xdata()) == [0, 1, 2, 3]
    assert first.get_marker() != second.get_marker()
    assert figure.axes[0].get_ylabel() == "loss"


def test_the_title_and_the_description_tell_the_numbers():
    """Would somebody who cannot see the figure know what it shows?"""
    figure = plot(curves={"frozen": FROZEN, "thawed": THAWED}, of="accuracy")
    assert figure.get_suptitle() == "Accuracy at the end: 2.304 frozen, 2 thawed"
    assert figure.alt == "Line plot of the accuracy over 4 steps: frozen from 2.304 to 2.304, thawed from 2.3 to 2."


def test_a_prediction_about_them_is_judged():
    """Does the figure say what was predicted, and what came true?"""
    guess = Prediction("", "falls", ("falls", "does not move"))
    figure = plot(curves={"frozen": FROZEN}, prediction=guess, outcome="does not move")
    assert figure.axes[0].get_title(loc="left") == 'You predicted "falls". Measured: does not move.'


@pytest.mark.parametrize("curves", [{}, {"empty": []}, {"words": "loss"}, {"number": 3}, {"lists": [[1], [2]]}])
def test_nothing_to_draw_is_said(curves):
    """Is a run without numbers refused with a sentence?"""
    with pytest.raises(RecordError, match=r"plot\(curves=...\)"):
        plot(curves=curves)
